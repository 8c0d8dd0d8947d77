//! A server stops under load while its peers are stuck in every known way: it ends by itself with success, and no
//! acknowledged write is lost.
//!
//! `QUEUEGATE_DRAINS=500 cargo test --release --test it drains -- --nocapture` runs a campaign, and prints how long the
//! drains took.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use bytes::Bytes;
use prost::Message;
use queuegate::rpc::proto::*;
use rand::{RngExt, seq::IteratorRandom};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::{
    durability::Process,
    sigkill::{Life, Tally, organizations},
};

/// The drain deadline: time limit for calls in flight and writes.
const DRAIN_DEADLINE: Duration = Duration::from_millis(300);

/// An upper bound for every drain.
const HANG: Duration = Duration::from_secs(60);

/// Stuck connections, each stuck as long as the value is held.
type Peers = Vec<Box<dyn Any + Send>>;

#[derive(Debug, Clone, Copy)]
enum Stuck {
    /// Connects, and sends nothing.
    Silent,
    /// Sends half of the connection preface.
    HalfPreface,
    /// Sends the headers of a request, and half of its message.
    HalfRequest,
    /// Uploads a document without end.
    Upload,
    /// Watches, and takes no message off its stream.
    Watch,
    /// Watches, and allows the server to send no byte.
    ClosedWindow,
    /// Waits for a revision that never comes.
    Waits,
    /// Exports a document, and doesn't read it.
    Export,
}

const WAYS: [Stuck; 8] = [
    Stuck::Silent,
    Stuck::HalfPreface,
    Stuck::HalfRequest,
    Stuck::Upload,
    Stuck::Watch,
    Stuck::ClosedWindow,
    Stuck::Waits,
    Stuck::Export,
];

/// A call over plain HTTP/2 with an open body, whose response may be as large as `window` allows.
async fn call(address: &str, path: &str, body: Vec<u8>, window: u32) -> Box<dyn Any + Send> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (mut requests, connection) = builder.handshake::<_, Bytes>(tcp).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}/queuegate.v1.{path}"))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (answer, mut sending) = requests.send_request(request, false).unwrap();
    sending.send_data(body.into(), false).unwrap();
    Box::new((requests, answer, sending))
}

fn framed(message: &impl Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message.as_slice()].concat()
}

/// Makes a peer stuck in this way.
async fn stuck(server: &Process, way: Stuck, peers: &mut Peers) {
    let address = server.address();
    let organization_id = organizations().next().unwrap();
    match way {
        Stuck::Silent => peers.push(Box::new(TcpStream::connect(address).await.unwrap())),
        Stuck::HalfPreface => {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            tcp.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
            peers.push(Box::new(tcp));
        }
        Stuck::HalfRequest => {
            let request = ListSessionsRequest { organization_id, ..Default::default() };
            let mut body = framed(&request);
            body.truncate(body.len() / 2);
            peers.push(call(address, "QueueAccessService/ListSessions", body, 65_535).await);
        }
        Stuck::Upload => {
            let request = ImportDirectoryRequest { organization_id, document: "users:\n".into(), ..Default::default() };
            peers.push(call(address, "DirectoryService/ImportDirectory", framed(&request), 65_535).await);
        }
        Stuck::Watch => {
            let request = WatchSessionsRequest { organization_id, ..Default::default() };
            let mut client = server.client().await;
            let messages = client.queue_access.watch_sessions(request).await.unwrap();
            peers.push(Box::new((client, messages)));
        }
        Stuck::ClosedWindow => {
            let request = WatchSessionsRequest { organization_id, ..Default::default() };
            peers.push(call(address, "QueueAccessService/WatchSessions", framed(&request), 0).await);
        }
        Stuck::Waits => {
            let mut client = server.client().await;
            let request = GetOrganizationRequest { organization_id: organization_id.clone(), ..Default::default() };
            let revision = client.directory.get_organization(request).await.unwrap().into_inner().revision;
            let (base, _) = revision.rsplit_once('-').unwrap();
            let at_least_revision = format!("{base}-00000000ffffffff");
            let request = GetOrganizationRequest { organization_id, at_least_revision };
            peers.push(call(address, "DirectoryService/GetOrganization", framed(&request), 65_535).await);
        }
        Stuck::Export => {
            let request = ExportDirectoryRequest { organization_id, ..Default::default() };
            peers.push(call(address, "DirectoryService/ExportDirectory", framed(&request), 0).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_whatever_its_peers_do_and_loses_nothing() {
    /// Start a new database after this many drains, so that verifying its whole log stays fast.
    const DRAINS_OF_A_DATABASE: usize = 25;
    let drains: usize = std::env::var("QUEUEGATE_DRAINS").ok().map_or(4, |text| text.parse().expect("a number"));
    let deadline = format!("{}ms", DRAIN_DEADLINE.as_millis());
    let mut tally = Tally::default();
    let mut took = Vec::new();
    let mut held = 0;
    let mut life = Life::begin(1_000).await;
    for drain in 0..drains {
        if drain > 0 && drain % DRAINS_OF_A_DATABASE == 0 {
            life.end();
            life = Life::begin(1_000 + drain as u64).await;
        }
        drop(life.server.take());
        let server = Process::start_with(&life.database(), &["--drain-deadline", &deadline]);
        let mut peers = Peers::new();
        // The first drains cover all of them.
        let some = if drain < 3 { WAYS.len() } else { life.rng.random_range(1..=WAYS.len()) };
        for way in WAYS.into_iter().sample(&mut life.rng, some) {
            for _ in 0..life.rng.random_range(1..=4) {
                stuck(&server, way, &mut peers).await;
            }
        }
        held += peers.len();
        let load = life.load(&server).await;
        let begun = Instant::now();
        server.ask_to_stop();
        let ended = tokio::task::spawn_blocking(move || server.ended());
        let status = timeout(HANG, ended).await.expect("an end").unwrap();
        took.push(begun.elapsed());
        assert!(status.success(), "{status:?}");
        let sent = load.end().await;
        drop(peers);

        let server = Process::start(&life.database());
        let mut client = server.client().await;
        life.server = Some(server);
        life.look(&mut client, sent, &mut tally).await;
    }
    life.end();
    assert!(tally.acknowledged > 0 && held >= drains);
    took.sort();
    let (middle, longest) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{drains} drains with a deadline of {DRAIN_DEADLINE:?} and {held} stuck peers: {middle:?} in the middle, {longest:?} at \
         most; {tally:?}; nothing lost, nothing invented"
    );
}
