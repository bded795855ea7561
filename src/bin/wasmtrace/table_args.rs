//! Options of the text tables, and the size of the terminal that they are written to.

use wasmtrace::export::{Look, Sort};

/// Options of the text tables.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct TableArgs {
    /// Hide rows below this share of the time, in percent; 0 shows all rows [default: 0.5, and on a terminal only as many
    /// rows as fit the window]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) min_share: Option<f64>,
    /// Width of the table, at least 60 [default: that of the terminal; not limited in files and pipes]
    #[arg(long, value_name = "COLUMNS", value_parser = clap::value_parser!(u16).range(Look::MIN_WIDTH as i64..))]
    width: Option<u16>,
    /// Show the arguments of C++ functions and whole paths, in rows of any width
    #[arg(long, conflicts_with = "width")]
    full_names: bool,
}

/// Minimum share of a row in percent, unless another is given.
const MIN_SHARE: f64 = 0.5;

/// The usual size of a terminal that does not tell its own: columns and lines.
const USUAL: (usize, usize) = (80, 24);

impl TableArgs {
    /// The options of a table that is written to this stream.
    pub(crate) fn look(&self, stream: &impl anstream::stream::RawStream, sort: Sort) -> Look {
        let window = stream.is_terminal().then(window);
        Look {
            min_share: self.min_share.unwrap_or(MIN_SHARE) / 100.0,
            sort,
            color: colored(stream),
            width: self.width.map(usize::from).or(window.map(|(width, _)| width)),
            height: window.filter(|_| self.min_share.is_none()).map(|(_, height)| height),
            full_names: self.full_names,
        }
    }
}

/// Columns and lines of the terminal. The variables `COLUMNS` and `LINES` take precedence, as in other programs.
fn window() -> (usize, usize) {
    let set = |variable: &str| std::env::var(variable).ok()?.trim().parse().ok().filter(|number| *number > 0);
    let size = terminal_size::terminal_size().map(|(width, height)| (usize::from(width.0), usize::from(height.0)));
    let (width, height) = size.filter(|(width, height)| *width > 0 && *height > 0).unwrap_or(USUAL);
    (set("COLUMNS").unwrap_or(width), set("LINES").unwrap_or(height))
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(p) if (0.0..=100.0).contains(&p) => Ok(p),
        _ => Err("expected a number from 0 to 100".to_owned()),
    }
}

/// Whether to write colours to this stream.
fn colored(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
        && (stream.is_terminal() || anstream::ColorChoice::global() == anstream::ColorChoice::Always)
}
