"""Alerts: rules that are asked again and again of what arrived, and people who are told what came of it.

- `rules`: groups of rules as they are written. `condition`: what a rule holds against its answer.
- `states`: where a rule stands. `policy`: an answer and a moment to the next state; pure.
- `silences`: who wants to hear nothing of what. `telling`: what whom is still to be told; pure.
- `asking`: a rule's answer, over searches. `book`: rules, states and silences in an object store.
- `running`: the loop over all of them, over ports and a clock.
"""
