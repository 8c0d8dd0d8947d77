//! A client in Rust: signs a user in to a queue, like a PBX when the user dials *13.
//!
//!     cargo run --example sign_in -- http://127.0.0.1:50051 acme 101 801
//!
//! With the addresses of several nodes, separated by commas, it goes on with another one when a node fails.

use queuegate::{
    client::Client,
    rpc::proto::{Channel, SignInRequest, sign_in_request},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [servers, organization, user, queue] = arguments.as_slice() else {
        return Err("usage: sign_in SERVERS ORGANIZATION USER_EXTENSION QUEUE_EXTENSION".into());
    };
    let mut client = Client::connect(servers).await?;

    let mut request = tonic::Request::new(SignInRequest {
        organization_id: organization.clone(),
        user: Some(sign_in_request::User::UserExtension(user.clone())),
        queue: Some(sign_in_request::Queue::QueueExtension(queue.clone())),
        channel: Channel::FeatureCode.into(),
        device: format!("PJSIP/{user}"),
        // Use the same id for every attempt of one call, so that a retry after a lost response is safe.
        request_id: format!("call-{}", std::process::id()),
        all_assigned_queues: false,
    });
    request.set_timeout(std::time::Duration::from_secs(2));

    // A denial is an answer. An error means that the server didn't decide: treat it as a refusal.
    let answer = client.queue_access.sign_in(request).await?.into_inner();
    let decision = answer.decision.unwrap_or_default();
    println!("{} {}: {}", decision.allowed(), decision.reason().as_str_name(), decision.explanation);
    Ok(())
}
