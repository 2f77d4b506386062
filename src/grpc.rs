//! The gRPC edge: domain values to protobuf and back.
