//! Colours on a terminal. A colour only repeats what the words say, so nothing is lost without colours.

use anstyle::{AnsiColor, Style};

/// What a text means for its reader, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// The beginning of a part.
    Title,
    /// Something was reached, or nothing objects.
    Good,
    /// Something waits.
    Wait,
    /// Something went wrong, or a person is needed.
    Bad,
    /// A detail.
    Quiet,
}

/// Whether a page is drawn in colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    Colours,
}

impl Ink {
    /// Colours for a terminal whose owner has not asked for none.
    pub fn of(is_terminal: bool, plain: bool) -> Self {
        if is_terminal && !plain { Self::Colours } else { Self::Plain }
    }

    pub fn paint(self, tone: Tone, text: &str) -> String {
        let style = match tone {
            _ if self == Self::Plain || text.is_empty() => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Title => Style::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Wait => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Quiet => Style::new().dimmed(),
        };
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_colours_has_no_escapes() {
        for tone in [Tone::Plain, Tone::Title, Tone::Good, Tone::Wait, Tone::Bad, Tone::Quiet] {
            assert_eq!(Ink::of(true, true).paint(tone, "halted"), "halted", "{tone:?}");
            assert_eq!(Ink::of(false, false).paint(tone, "halted"), "halted", "{tone:?}");
            let painted = Ink::of(true, false).paint(tone, "halted");
            assert!(painted.contains("halted"), "{tone:?}");
            assert_eq!(painted.contains('\u{1b}'), tone != Tone::Plain, "{tone:?}");
        }
        assert_eq!(Ink::Colours.paint(Tone::Bad, ""), "", "nothing is painted around nothing");
    }
}
