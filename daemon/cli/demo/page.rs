//! Lines on a terminal or in a pipe: a time, a subject, and a sentence; colours only on a terminal.

use std::io::{self, Write};

use jiff::Timestamp;

/// The kind of a line, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// The beginning of a part.
    Title,
    /// Something was reached.
    Good,
    /// Something waits.
    Wait,
    /// Something went wrong.
    Bad,
    /// A detail.
    Quiet,
}

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
    colours: bool,
}

impl<'a> DemoPage<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send), colours: bool) -> Self {
        Self { out, colours }
    }

    /// Writes lines and flushes them, because people watch.
    pub(super) fn tell(&mut self, lines: &[Line]) -> io::Result<()> {
        for line in lines {
            if line.tone == Tone::Title {
                writeln!(self.out)?;
            }
            let time = self.paint(Tone::Quiet, &line.at.strftime("%H:%M:%S").to_string());
            let who = self.paint(line.tone, &format!("{:<WHO$}", line.who));
            let text = match line.tone {
                Tone::Plain | Tone::Good => line.text.clone(),
                Tone::Title | Tone::Wait | Tone::Bad | Tone::Quiet => self.paint(line.tone, &line.text),
            };
            writeln!(self.out, "{time}  {who}  {text}")?;
        }
        self.out.flush()
    }

    /// A heading without a time.
    pub(super) fn title(&mut self, text: &str) -> io::Result<()> {
        let text = self.paint(Tone::Title, text);
        writeln!(self.out, "\n{text}\n")
    }

    /// An indented line without a time.
    pub(super) fn note(&mut self, tone: Tone, text: &str) -> io::Result<()> {
        let text = if tone == Tone::Plain { text.to_owned() } else { self.paint(tone, text) };
        writeln!(self.out, "  {text}")?;
        self.out.flush()
    }

    pub(super) fn gap(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => "36",
            Tone::Title => "1",
            Tone::Good => "32",
            Tone::Wait => "33",
            Tone::Bad => "1;31",
            Tone::Quiet => "2",
        };
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
