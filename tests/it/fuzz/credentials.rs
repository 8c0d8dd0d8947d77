//! Fuzz tests of credentials: the token file, and `authorization` headers.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use queuegate::{
    auth::{Entry, Fingerprint, Scope, Secret, TokenFile},
    domain::time::Timestamp,
    server::Config,
};
use rand::{RngExt, seq::IndexedRandom};
use tonic::Code;

use super::{
    frames::{connected, framed, status},
    mutate::{Mutator, Shown, share},
    no_panics, note_panics, within,
};
use crate::support::{ManualClock, TestServer, described};

/// The parts of tokens after the prefix. No message may contain any of them.
const SECRETS: [&str; 2] = ["aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF", "zY8xW7vU6tS5rQ4pO3nM2lK1jI0hG9fE"];

/// Whether a message about a text contains one of its tokens. A token that is torn in the text can't be recognized.
fn tells_a_secret(text: &str, said: &str) -> bool {
    const TOO_MUCH: usize = 8;
    let is_in = |text: &str, secret: &str| {
        let mut pieces = secret.as_bytes().windows(TOO_MUCH);
        pieces.any(|piece| text.as_bytes().windows(TOO_MUCH).any(|found| found == piece))
    };
    let is_shown = said.split("qgt_").skip(1).any(|rest| !rest.starts_with("..."));
    let is_torn = |secret: &str| is_in(&text.replace(&format!("qgt_{secret}"), ""), secret);
    is_shown || SECRETS.iter().any(|secret| is_in(said, secret) && !is_torn(secret))
}

/// An entry as `token new` writes it.
fn entry(inputs: &mut Mutator, number: usize) -> Entry {
    let rng = &mut inputs.rng;
    let is_certificate = rng.random_ratio(1, 4);
    let scopes: BTreeSet<Scope> = (0..rng.random_range(1..4)).map(|_| *Scope::ALL.choose(rng).unwrap()).collect();
    let organizations: BTreeSet<_> = (0..rng.random_range(0..3))
        .map(|_| ["acme", "beta", "0.a_b-c"].choose(rng).unwrap().parse().unwrap())
        .collect();
    let expires = rng.random::<bool>().then(|| Timestamp::from_unix_ms(rng.random_range(0..253_402_300_799) * 1_000));
    // A certificate's name is the only arbitrary text.
    let name = format!("{number} {}", inputs.text());
    Entry {
        name: format!("caller-{number}").parse().unwrap(),
        sha256: (!is_certificate).then(|| Secret::generate().unwrap().fingerprint()),
        certificate: is_certificate.then(|| name.parse().unwrap()),
        scopes,
        organizations: Some(organizations).filter(|organizations| !organizations.is_empty()),
        expires,
    }
}

#[test]
fn no_token_file_tells_a_secret_and_what_was_written_is_read_as_it_was() {
    let hash = Fingerprint::of(SECRETS[0].as_bytes());
    let both = format!(
        "# who may call\n[[token]]\nname = \"pbx\"\nsha256 = \"{hash}\"\nscopes = [\"check\", \"sign-in\"]\n\
         organizations = [\"acme\"]\nexpires = 2027-01-01T00:00:00Z\n\n\
         [[token]]\nname = \"board\"\ncertificate = \"board.example\"\nscopes = [\"admin\"]\n"
    );
    // Common mistakes in the place of a hash, and everywhere else.
    let [first, second] = SECRETS.map(|secret| format!("qgt_{secret}"));
    let mistaken = both.replace(&hash.to_string(), &first);
    let everywhere = format!(
        "[[token]]\nname = \"{first}\"\nscopes = [\"{second}\"]\norganizations = [\"{first}\"]\nexpires = \"{second}\"\n\
         {first} = \"{second}\"\n"
    );
    let corpus = [both.clone(), mistaken.clone(), everywhere, format!("{both}{mistaken}"), first, second];
    let mut inputs = Mutator::new(7, corpus);
    let file = TokenFile::new("tokens.toml");
    let tried = share(4);
    let mut read = 0;
    for _ in 0..tried {
        let text = inputs.text();
        let _shown = Shown(text.as_bytes());
        match file.parse(&text) {
            Ok(_) => read += 1,
            Err(error) => assert!(!tells_a_secret(&text, &error.to_string()), "{error}"),
        }
    }
    assert!(read > 0 && read < tried);
    // Every addition reads, writes and syncs the file.
    let written = (tried / 100).clamp(10, 2_000);
    let folder = tempfile::tempdir().unwrap();
    for round in 0..written.div_ceil(20) {
        let file = TokenFile::new(folder.path().join(format!("{round}.toml")));
        let entries: Vec<Entry> = (0..20).map(|number| entry(&mut inputs, number)).collect();
        entries.iter().for_each(|entry| file.add(entry).unwrap());
        assert_eq!(file.read().unwrap(), entries);
    }
    println!("token files: {tried} texts, {read} of them read; {written} entries written and read");
}

/// The caller of a header's token: a second implementation of the rule.
fn is_known(header: &[u8]) -> bool {
    let header = String::from_utf8_lossy(header);
    let Some((scheme, token)) = header.split_once(' ') else { return false };
    let token = token.trim_matches([' ', '\t']);
    scheme.to_lowercase() == "bearer" && SECRETS.iter().any(|secret| token == format!("qgt_{secret}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_lets_anybody_in_but_a_token_that_is_known() {
    note_panics();
    let folder = tempfile::tempdir().unwrap();
    let tokens = TokenFile::new(folder.path().join("tokens.toml"));
    for (name, secret) in ["pbx", "board"].iter().zip(SECRETS) {
        let sha256 = Some(Fingerprint::of(format!("qgt_{secret}").as_bytes()));
        let scopes = BTreeSet::from([Scope::Check]);
        let name = name.parse().unwrap();
        tokens.add(&Entry { name, sha256, certificate: None, scopes, organizations: None, expires: None }).unwrap();
    }
    let change = |config: &mut Config| config.tokens = Some(tokens);
    let server = TestServer::start_as(folder, Arc::new(ManualClock::default()), change).await;
    let [first, second] = SECRETS;
    let corpus = [
        format!("Bearer qgt_{first}"),
        format!("bearer  qgt_{second} "),
        format!("BEARER\tqgt_{first}"),
        format!("Basic qgt_{second}"),
        format!("Bearer qgt_{first},Bearer qgt_{second}"),
        Fingerprint::of(format!("qgt_{first}").as_bytes()).to_string(),
    ];
    let mut inputs = Mutator::new(8, corpus);
    let tried = share(2);
    let (mut let_in, mut kept_out) = (0, 0);
    let mut requests = connected(server.address).await;
    for _ in 0..tried {
        let headers: Vec<Vec<u8>> = (0..inputs.rng.random_range(1..=2)).map(|_| inputs.input()).collect();
        // Headers that no client can send, or that are too large.
        let values = headers.iter().filter(|header| header.len() < 4_000);
        let values: Vec<_> = values.filter_map(|header| http::HeaderValue::from_bytes(header).ok()).collect();
        let shown = format!("{values:?}");
        let _shown = Shown(shown.as_bytes());
        let path = format!("http://{}/queuegate.v1.PermissionService/ListPermissions", server.address);
        let mut request = http::Request::post(path).header("content-type", "application/grpc").body(()).unwrap();
        for value in &values {
            request.headers_mut().append("authorization", value.clone());
        }
        requests = within("place for a stream", requests.ready()).await.unwrap();
        let (answer, mut sending) = requests.send_request(request, false).unwrap();
        // Messages of unauthenticated callers are not read.
        let _ = sending.send_data(Bytes::from(framed(&[])), true);
        let answer = within("answer", answer).await.unwrap();
        let status = within("end of the answer", status(answer)).await.unwrap();
        // Of two headers, the first counts.
        if values.first().is_some_and(|value| is_known(value.as_bytes())) {
            assert_eq!(status.code(), Code::Ok, "{status:?}");
            let_in += 1;
        } else {
            assert_eq!(described(&status).0, Code::Unauthenticated, "{status:?}");
            assert!(!tells_a_secret("", status.message()), "{status:?}");
            kept_out += 1;
        }
    }
    no_panics();
    assert!(let_in > 0 && kept_out > 0);
    println!("headers: {let_in} were accepted and {kept_out} refused");
}
