"""Who runs a search's tasks besides Ray (`runtime/ray_executor`): a function somewhere else, and both within a budget.

- `invocations`: tasks as invocations of a function, as many at a time as its cap allows. `pace`: what that is.
- `mixed`: invocations within their cap and a budget, and the rest beside them as local tasks.
- `hedge`: when a task is started a second time; every executor asks it, Ray's too.
"""
