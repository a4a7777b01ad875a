"""A simulated crowd: who comes and what they do (crowd.py), at a running service (drive.py) or in
the past (history.py), where managers keep their codes going (managers.py)."""
