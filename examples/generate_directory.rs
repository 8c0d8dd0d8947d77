//! Writes a large directory, to measure imports, restarts and checks.
//!
//!     cargo run --release --example generate_directory -- 100000 2000 10 > large.yaml
//!
//! The arguments are the number of users, of queues, and of assignments for each user.

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [users, queues, assignments] = numbers.as_slice() else {
        return Err("usage: generate_directory USERS QUEUES ASSIGNMENTS_FOR_EACH_USER".into());
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "organization: {{ organization_id: large, display_name: A large contact center }}\nqueues:")?;
    for queue in 0..*queues {
        let extension = 10_000_000 + queue;
        writeln!(
            out,
            "  - {{ queue_id: q{queue}, display_name: Queue {queue}, extension: {extension}, kind: CALL_QUEUE }}"
        )?;
    }
    writeln!(out, "users:")?;
    for user in 0..*users {
        let extension = 20_000_000 + user;
        // Neighbours share some queues, as teams do.
        let agent_of: Vec<String> =
            (0..*assignments).map(|number| format!("q{}", (user / 50 + number * 37) % queues)).collect();
        writeln!(
            out,
            "  - {{ user_id: u{user}, display_name: User {user}, extension: {extension}, \
             contact_center_license: true, agent_of: [{}] }}",
            agent_of.join(", ")
        )?;
    }
    out.flush()?;
    Ok(())
}
