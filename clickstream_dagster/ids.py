"""The rules of project and app ids (seed 000, "Project" and "Create a project")."""

import re

PROJECT_ID = re.compile(r"[a-z][a-z0-9_]{0,126}")
PROJECT_ID_RULE = "a lower-case letter, then up to 126 lower-case letters, digits or underscores"

APP_ID = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,126}")
APP_ID_RULE = "a letter, then up to 126 letters, digits, underscores, dots or dashes"
