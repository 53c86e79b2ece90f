"""Many runs from one config: studies, their trials, and the processes that run them."""
