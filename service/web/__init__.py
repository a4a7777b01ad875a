"""The visitor's page: templates, words and rendering, without a web framework."""
