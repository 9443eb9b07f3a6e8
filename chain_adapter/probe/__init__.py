"""How a platform decides what its documents leave open: asked in its test environment.

`line` says a call in any form and keeps all of the answer; `questions`, `deposits`, `withdrawals`
ask; `answers` is what comes out, with the settings that follow. The daemon uses none of it.
"""
