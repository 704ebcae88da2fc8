"""Who is who inside the platform: one authority of its own, and short-lived certificates that it renews by itself."""
