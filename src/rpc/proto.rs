//! The messages and services of `proto/queuegate/v1`, as generated. The `.proto` files document them.

tonic::include_proto!("queuegate.v1");
