//! Columns of text that fit the terminal.

/// Between two columns.
const GAP: usize = 2;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    title: &'static str,
    right: bool,
    /// It may be cut to so many characters, when there is no room.
    least: Option<usize>,
    /// It may be left out when there is no room; the lowest number goes first.
    spare: Option<u8>,
}

/// A column of text, which always stands as it is.
pub(crate) const fn col(title: &'static str) -> Column {
    Column { title, right: false, least: None, spare: None }
}

impl Column {
    /// Numbers.
    pub(crate) const fn right(self) -> Self {
        Self { right: true, ..self }
    }
    /// May be cut to `least` characters; such cells hold no escape codes.
    pub(crate) const fn cut(self, least: usize) -> Self {
        Self { least: Some(least), ..self }
    }
    /// May be left out; the lowest number goes first.
    pub(crate) const fn spare(self, order: u8) -> Self {
        Self { spare: Some(order), ..self }
    }
}

/// Columns without lines, for every terminal and for `awk`, in at most `width` characters a line if
/// that can be had: what is spare is left out, then what may be cut is cut.
///
/// A cell may hold escape codes of [`Paint`](crate::output::Paint); they take no room. Control
/// characters that are not ours are not written.
pub(crate) fn table(columns: &[Column], width: usize, mut rows: Vec<Vec<String>>) -> String {
    for row in &mut rows {
        for (cell, column) in row.iter_mut().zip(columns) {
            if column.least.is_some() {
                *cell = plain(cell);
            }
        }
    }
    let widths = widths(columns, &rows);
    let shown = shown(columns, &widths, width);
    let widths = cut(columns, &widths, &shown, width);
    let head = columns.iter().map(|column| column.title.to_owned()).collect();
    let lines: Vec<_> = std::iter::once(head)
        .chain(rows)
        .map(|row: Vec<String>| line(columns, &row, &widths, &shown))
        .collect();
    lines.join("\n")
}

/// Each column's widest cell.
fn widths(columns: &[Column], rows: &[Vec<String>]) -> Vec<usize> {
    let widest = |(at, column): (usize, &Column)| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| seen(cell));
        cells.chain([seen(column.title)]).max().unwrap_or_default()
    };
    columns.iter().enumerate().map(widest).collect()
}

fn total(widths: impl Iterator<Item = usize>) -> usize {
    let (count, sum) = widths.fold((0, 0), |(count, sum), width| (count + 1, sum + width));
    sum + GAP * (count - usize::from(count > 0))
}

/// Which columns stand: as few are left out as need be, and those that may be cut count as cut.
fn shown(columns: &[Column], widths: &[usize], width: usize) -> Vec<bool> {
    let mut shown = vec![true; columns.len()];
    let least = |at: usize| columns[at].least.map_or(widths[at], |least| least.min(widths[at]));
    loop {
        let needed = total((0..columns.len()).filter(|at| shown[*at]).map(least));
        let spare = (0..columns.len())
            .filter(|at| shown[*at] && columns[*at].spare.is_some())
            .min_by_key(|at| columns[*at].spare);
        match spare {
            Some(at) if needed > width => shown[at] = false,
            _ => return shown,
        }
    }
}

/// The widths of what is shown: the widest of those that may be cut gives a character, until all fit.
fn cut(columns: &[Column], widths: &[usize], shown: &[bool], width: usize) -> Vec<usize> {
    let mut widths = widths.to_vec();
    loop {
        let needed = total((0..columns.len()).filter(|at| shown[*at]).map(|at| widths[at]));
        let widest = (0..columns.len())
            .filter(|at| shown[*at] && columns[*at].least.is_some_and(|least| widths[*at] > least))
            .max_by_key(|at| widths[*at]);
        match widest {
            Some(at) if needed > width => widths[at] -= 1,
            _ => return widths,
        }
    }
}

fn line(columns: &[Column], row: &[String], widths: &[usize], shown: &[bool]) -> String {
    let mut line = String::new();
    for (at, column) in columns.iter().enumerate().filter(|(at, _)| shown[*at]) {
        let cell = row.get(at).map(String::as_str).unwrap_or_default();
        let cell = if seen(cell) > widths[at] { shortened(cell, widths[at]) } else { cell.into() };
        let room = " ".repeat(widths[at].saturating_sub(seen(&cell)));
        let (before, after) = if column.right { (&*room, "") } else { ("", &*room) };
        line.extend([before, &cell, after, &" ".repeat(GAP)]);
    }
    line.truncate(line.trim_end().len());
    line
}

/// The beginning, and a sign that there is more.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Without control characters: names and messages are other people's.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Characters that are seen: those of an escape code are not.
fn seen(cell: &str) -> usize {
    let mut inside = false;
    let seen = |letter: &char| {
        inside |= *letter == '\x1b';
        let seen = !inside;
        inside &= *letter != 'm';
        seen
    };
    cell.chars().filter(seen).count()
}

/// Breaks a text into lines of at most `width`, each after the first indented by `indent`.
pub(crate) fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let words = text.trim_start();
    let mut column = text.len() - words.len();
    let mut out = " ".repeat(column);
    for (at, word) in words.split(' ').enumerate() {
        let long = seen(word);
        if column > indent && column + 1 + long > width {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += long;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [col("ID"), col("NAME").cut(6), col("N").right(), col("EXTRA").spare(1)];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![row(["job_1", "a-name-of-some-length", "1", "more"]), row(["job_22", "b", "200", "x"])]
    }

    #[test]
    fn a_wide_terminal_shows_all() {
        insta::assert_snapshot!(table(&COLUMNS, 80, rows()), @r"
        ID      NAME                     N  EXTRA
        job_1   a-name-of-some-length    1  more
        job_22  b                      200  x
        ");
    }

    #[test]
    fn a_narrow_one_cuts_what_may_be_cut_and_leaves_out_what_is_spare() {
        insta::assert_snapshot!(table(&COLUMNS, 30, rows()), @r"
        ID      NAME          N  EXTRA
        job_1   a-name-of…    1  more
        job_22  b           200  x
        ");
        insta::assert_snapshot!(table(&COLUMNS, 20, rows()), @r"
        ID      NAME       N
        job_1   a-name…    1
        job_22  b        200
        ");
        // Ids and numbers are never cut.
        assert!(table(&COLUMNS, 3, rows()).contains("job_22  b       200"));
    }

    #[test]
    fn colours_take_no_room_and_foreign_codes_are_not_written() {
        let rows = vec![vec!["\x1b[32mup\x1b[0m".to_owned(), "e\x1b[2Jvil".to_owned(), "1".into()]];
        let columns = [col("STATE"), col("NAME").cut(4), col("N").right()];
        let text = table(&columns, 80, rows);
        assert_eq!(
            text,
            "STATE  NAME     N\n\x1b[32mup\x1b[0m     e [2Jvil  1"
                .replace("NAME     N", "NAME      N")
        );
    }

    #[test]
    fn words_are_kept_whole_when_lines_are_broken() {
        assert_eq!(wrapped("- one two three four", 10, 2), "- one two\n  three\n  four");
        assert_eq!(wrapped("  a  b c d", 8, 4), "  a  b c\n    d");
        assert_eq!(wrapped("short", 10, 2), "short");
    }
}
