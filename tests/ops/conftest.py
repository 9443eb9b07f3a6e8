"""Worlds of the stories, for tests of what operators rely on."""

from __future__ import annotations

from tests.stories.conftest import folder, memo_setting, no_log, templates, world, worlds

__all__ = ["folder", "memo_setting", "no_log", "templates", "world", "worlds"]
