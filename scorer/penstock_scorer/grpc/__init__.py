"""The Open Inference Protocol over gRPC. Imported only where gRPC is served: grpcio and numpy are extras."""
