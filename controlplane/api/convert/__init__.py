"""Messages of ``penstock.v1`` into the domain's values and back, one file per resource."""
