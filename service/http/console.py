"""The consoles of HQ (`/hq`) and of managers (`/m`)."""

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
