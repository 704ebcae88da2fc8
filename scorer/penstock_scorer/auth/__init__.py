"""Who may call: a policy the control plane writes, checked here a second time behind the gateway."""
