"""The model server of Penstock."""
