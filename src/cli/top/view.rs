//! The live view on a terminal.

use std::{net::SocketAddr, time::Duration};

use crossterm::event::{Event, EventStream, KeyCode, KeyEvent, KeyModifiers};
use ratatui::{
    DefaultTerminal, Frame,
    layout::{Constraint, Layout},
    style::Style,
    text::Line,
    widgets::{Paragraph, Row, Table},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::StreamExt;

use super::{
    reading::{self, CALL_HEADING, REFUSAL_HEADING, Reading},
    scrape::Scrape,
};
use crate::domain::text::shown;

/// Show readings until the user quits, and leave the terminal as it was.
pub(super) async fn show(address: SocketAddr, interval: Duration, before: Scrape) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let ended = draw_until_quit(address, interval, before, &mut terminal).await;
    ratatui::try_restore()?;
    ended
}

async fn draw_until_quit(
    address: SocketAddr,
    interval: Duration,
    mut before: Scrape,
    terminal: &mut DefaultTerminal,
) -> anyhow::Result<()> {
    let mut events = EventStream::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut last: Option<Reading> = None;
    let mut state = "reading".to_owned();
    loop {
        terminal.draw(|frame| draw(frame, address, &state, last.as_ref()))?;
        tokio::select! {
            next = reading::next(address, interval, &before) => match next {
                Ok((after, reading)) => {
                    state = reading.state();
                    (before, last) = (after, Some(reading));
                }
                Err(status) => state = status.message().chars().flat_map(shown).collect(),
            },
            event = events.next() => match event.transpose()? {
                Some(Event::Key(key)) if quits(key) => return Ok(()),
                // Such as a new size of the terminal. Restarts the interval; rates are by the time that really passed.
                Some(_) => {}
                None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
        }
    }
}

fn quits(key: KeyEvent) -> bool {
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    is_control_c || [KeyCode::Char('q'), KeyCode::Esc].contains(&key.code)
}

fn draw(frame: &mut Frame<'_>, address: SocketAddr, state: &str, reading: Option<&Reading>) {
    let refusals = reading.map_or(0, |reading| reading.refusals.len());
    let heights = [
        Constraint::Length(6),
        Constraint::Min(4),
        Constraint::Length(u16::try_from(refusals).unwrap_or(u16::MAX).saturating_add(1)),
        Constraint::Length(1),
    ];
    let [head, calls, refused, foot] = Layout::vertical(heights).areas(frame.area());
    let bold = Style::new().bold();
    let mut lines = vec![Line::from(format!("queuegate at {address}")).style(bold), Line::from(state)];
    if let Some(reading) = reading {
        lines.extend(reading.gauge_lines().map(Line::from));
        let table = |rows: Vec<Row<'static>>, heading: Row<'static>, widths: Vec<Constraint>| {
            Table::new(rows, widths).header(heading.style(bold))
        };
        let rows = reading.call_rows().map(Row::new).collect();
        let widths = [30, 12, 12, 12, 14].map(Constraint::Length).to_vec();
        frame.render_widget(table(rows, Row::new(CALL_HEADING), widths), calls);
        let rows = reading.refusal_rows().map(Row::new).collect();
        let widths = [10, 34, 12, 14].map(Constraint::Length).to_vec();
        frame.render_widget(table(rows, Row::new(REFUSAL_HEADING), widths), refused);
    }
    frame.render_widget(Paragraph::new(lines), head);
    frame.render_widget(Line::from("q: quit").style(Style::new().dim()), foot);
}
