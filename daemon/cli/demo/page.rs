//! Lines on a terminal or in a pipe: a time, a subject, and a sentence; colours only on a terminal.

use std::io::{self, Write};

use jiff::Timestamp;

use crate::view::ink::{Ink, Tone};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) at: Timestamp,
    pub(super) who: String,
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// Wide enough for the longest node name of the demo.
const WHO: usize = 9;

/// Where the demo writes its lines.
pub(super) struct DemoPage<'a> {
    out: &'a mut (dyn Write + Send),
    ink: Ink,
}

impl<'a> DemoPage<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send), ink: Ink) -> Self {
        Self { out, ink }
    }

    /// Writes lines and flushes them, because people watch.
    pub(super) fn tell(&mut self, lines: &[Line]) -> io::Result<()> {
        for line in lines {
            if line.tone == Tone::Title {
                writeln!(self.out)?;
            }
            let time = self.ink.paint(Tone::Quiet, &line.at.strftime("%H:%M:%S").to_string());
            let who = self.ink.paint(line.tone, &format!("{:<WHO$}", line.who));
            let text = match line.tone {
                Tone::Plain | Tone::Good => line.text.clone(),
                Tone::Title | Tone::Wait | Tone::Bad | Tone::Quiet => self.ink.paint(line.tone, &line.text),
            };
            writeln!(self.out, "{time}  {who}  {text}")?;
        }
        self.out.flush()
    }

    /// A heading without a time.
    pub(super) fn title(&mut self, text: &str) -> io::Result<()> {
        let text = self.ink.paint(Tone::Title, text);
        writeln!(self.out, "\n{text}\n")
    }

    /// An indented line without a time.
    pub(super) fn note(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        let text = if tone == Tone::Plain { text.to_owned() } else { self.ink.paint(tone, text) };
        writeln!(self.out, "  {text}")?;
        self.out.flush()
    }

    pub(super) fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }
}
