//! The real server against servers that do nothing: all of them started, and measured in turn.

use std::sync::Arc;

use anyhow::Context;

use crate::{
    Options,
    call::{CheckCall, Line},
    crew::{Callee, Crew},
    drive::{self, Deck, Measured},
    floor::{Layout, Nothing},
    process::Process,
    report::{Rounds, mebibytes},
    setup::Setup,
};

/// A server and what was measured of it.
pub struct Contestant {
    pub server: Process,
    pub crew: Crew,
    pub closed: Rounds,
    pub open: Rounds,
}

impl Contestant {
    pub async fn new(setup: &Setup, options: &Options, server: Process) -> anyhow::Result<Self> {
        let crew = Crew::connect(&Callee::new(setup, &server), options.threads, options.connections).await?;
        Ok(Self { server, crew, closed: Rounds::default(), open: Rounds::default() })
    }

    /// Its row in the table of the closed loop.
    pub fn row(&self) -> anyhow::Result<Vec<String>> {
        let mut row = vec![self.server.name.to_owned()];
        row.extend(self.closed.cells());
        row.push(mebibytes(self.server.peak_memory()?));
        Ok(row)
    }
}

/// Both floors and the server, which is running. The floors answer the first question as it does.
pub async fn contestants(
    setup: &Setup,
    options: &Options,
    server: Process,
    questions: &[CheckCall],
) -> anyhow::Result<[Contestant; 3]> {
    let answers = setup.folder.path().join("answers");
    let line = Line::connect(&Callee::new(setup, &server)).await?;
    let question = questions.first().context("no questions")?;
    Nothing::write(&answers, question, &line.ask(question).await?)?;
    let per_core = Process::floor(setup, Layout::PerCore, &answers)?;
    let stock = Process::floor(setup, Layout::Stock, &answers)?;
    Ok([
        Contestant::new(setup, options, per_core).await?,
        Contestant::new(setup, options, stock).await?,
        Contestant::new(setup, options, server).await?,
    ])
}

/// Measures every contestant in turn, closed and then open.
pub async fn measure(
    contestants: &mut [Contestant],
    options: &Options,
    questions: &Arc<[CheckCall]>,
) -> anyhow::Result<f64> {
    for _ in 0..options.rounds {
        for Contestant { server, crew, closed, .. } in contestants.iter_mut() {
            closed.0.push(drive::closed(server, crew, options.streams, questions, options.seconds).await?);
        }
    }
    let deck = Deck::new(Arc::clone(questions));
    let slowest = contestants.iter().map(|contestant| contestant.closed.median(Measured::rate));
    let rate = options.rate.unwrap_or_else(|| slowest.fold(f64::INFINITY, f64::min) / 2.0);
    for _ in 0..options.rounds {
        for Contestant { server, crew, open, .. } in contestants.iter_mut() {
            open.0.push(drive::open(server, crew, (rate, options.arrivals), &deck, options.seconds).await?);
        }
    }
    Ok(rate)
}
