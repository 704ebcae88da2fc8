"""HTTP: granian's workers driven directly, the routes, and the headers of the contract."""
