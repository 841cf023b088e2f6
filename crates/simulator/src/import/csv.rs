//! Tables of comma-separated values with a header (RFC 4180; blanks around a cell do not count).

use std::borrow::Cow;
use std::fmt;

use crate::files::number::Number;

use super::error::Complaints;

/// A table, its columns known by name.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    header: Vec<Cow<'t, str>>,
    records: Records<'t>,
}

/// A column that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    index: usize,
    name: &'static str,
}

/// A line of a table with as many cells as the header.
#[derive(Debug)]
pub(crate) struct Row<'t> {
    /// Its line, from 1.
    pub(crate) line: usize,
    cells: Vec<Cow<'t, str>>,
}

/// A cell's place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place(usize, &'static str);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, {}", self.0, self.1)
    }
}

impl<'t> Table<'t> {
    /// Begins a table: reads its header.
    pub(crate) fn begin(text: &'t str, complaints: &mut Complaints) -> Option<Self> {
        let mut records = Records { rest: text.trim_start_matches('\u{feff}'), line: 1 };
        match records.next() {
            Some((_, Ok(header))) => Some(Self { header, records }),
            Some((line, Err(detail))) => {
                complaints.note(format_args!("line {line}"), detail);
                None
            }
            None => {
                complaints.note("", "must have a header line with the columns' names; is empty");
                None
            }
        }
    }

    /// A column that must be there.
    pub(crate) fn column(&self, name: &'static str, complaints: &mut Complaints) -> Option<Column> {
        let column = self.maybe(name);
        if column.is_none() {
            let found = self.header.join(",");
            complaints.note("line 1", format!("must have a column `{name}`; has {found}"));
        }
        column
    }

    /// A column that may be there.
    pub(crate) fn maybe(&self, name: &'static str) -> Option<Column> {
        let index = self.header.iter().position(|cell| cell == name)?;
        Some(Column { index, name })
    }

    /// Whether it has exactly such a header.
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.header.iter().any(|cell| cell == name))
    }

    /// Notes columns that nobody reads, and those that are there twice.
    pub(crate) fn only(&self, known: &[&str], complaints: &mut Complaints) {
        for (index, name) in self.header.iter().enumerate() {
            if !known.contains(&name.as_ref()) {
                let known = known.join(", ");
                complaints.note("line 1", format!("unknown column `{name}`; known are {known}"));
            } else if self.header.iter().take(index).any(|other| other == name) {
                complaints.note("line 1", format!("the column `{name}` is there more than once"));
            }
        }
    }

    /// Reads every row; gives them only when each could be read.
    pub(crate) fn rows<T>(
        self,
        complaints: &mut Complaints,
        mut read: impl FnMut(Row<'t>, &mut Complaints) -> Option<T>,
    ) -> Option<Vec<T>> {
        let width = self.header.len();
        let (mut out, mut is_good) = (Vec::new(), true);
        for (line, cells) in self.records {
            let row = match cells {
                Ok(cells) if cells.len() == width => read(Row { line, cells }, complaints),
                Ok(cells) => {
                    let detail = format!("has {} cells; the header has {width}", cells.len());
                    complaints.note(format_args!("line {line}"), detail);
                    None
                }
                Err(detail) => {
                    complaints.note(format_args!("line {line}"), detail);
                    None
                }
            };
            is_good &= row.is_some();
            out.extend(row);
        }
        is_good.then_some(out)
    }
}

impl Row<'_> {
    /// A cell's text.
    pub(crate) fn text(&self, column: Column) -> &str {
        self.cells.get(column.index).map_or("", |cell| cell.as_ref())
    }

    /// A cell's place.
    pub(crate) fn place(&self, column: Column) -> Place {
        Place(self.line, column.name)
    }

    /// A number of a kind, in its units.
    pub(crate) fn number(
        &self,
        column: Column,
        kind: Number,
        complaints: &mut Complaints,
    ) -> Option<u64> {
        let text = self.text(column);
        match kind.read(text) {
            Ok(units) => Some(units),
            Err(expected) => {
                let shown: String = text.chars().take(64).collect();
                complaints.note(self.place(column), format!("must be {expected}, is `{shown}`"));
                None
            }
        }
    }

    /// A number of a kind that fits 32 bits by its bounds.
    pub(crate) fn number32(
        &self,
        column: Column,
        kind: Number,
        complaints: &mut Complaints,
    ) -> Option<u32> {
        u32::try_from(self.number(column, kind, complaints)?).ok()
    }
}

/// Lines into cells; lines without anything are left out.
#[derive(Debug)]
pub(crate) struct Records<'t> {
    rest: &'t str,
    /// Of the next character, from 1.
    line: usize,
}

impl<'t> Records<'t> {
    fn quoted(&mut self) -> Result<Vec<Cow<'t, str>>, &'static str> {
        let mut cells = Vec::new();
        loop {
            let blank_free = self.rest.trim_start_matches([' ', '\t']);
            let (cell, after): (Cow<'t, str>, &'t str) =
                if let Some(inner) = blank_free.strip_prefix('"') {
                    let (cell, after) = until_quote(inner)?;
                    self.line += cell.matches('\n').count();
                    let after = after.trim_start_matches([' ', '\t']);
                    if !(after.is_empty() || after.starts_with([',', '\r', '\n'])) {
                        return Err("a quoted cell must end at its closing quote");
                    }
                    (cell, after)
                } else {
                    let end = self.rest.find([',', '\r', '\n']).unwrap_or(self.rest.len());
                    let (cell, after) = self.rest.split_at(end);
                    (cell.trim().into(), after)
                };
            cells.push(cell);
            match after.strip_prefix(',') {
                Some(next) => self.rest = next,
                None => {
                    self.rest = after;
                    return Ok(cells);
                }
            }
        }
    }

    fn skip_line(&mut self) {
        let end = self.rest.find('\n').map_or(self.rest.len(), |end| end + 1);
        self.rest = self.rest.split_at(end).1;
        self.line += 1;
    }
}

/// The text up to the closing quote, and what follows that; doubled quotes stand for one.
fn until_quote(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    let mut from = 0;
    loop {
        let rest = text.get(from..).unwrap_or_default();
        let Some(at) = rest.find('"') else { return Err("a quote is not closed") };
        let end = from + at;
        let after = text.get(end + 1..).unwrap_or_default();
        if after.starts_with('"') {
            from = end + 2;
            continue;
        }
        let cell = text.get(..end).unwrap_or_default();
        let cell = if cell.contains('"') { cell.replace("\"\"", "\"").into() } else { cell.into() };
        return Ok((cell, after));
    }
}

impl<'t> Iterator for Records<'t> {
    type Item = (usize, Result<Vec<Cow<'t, str>>, &'static str>);
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.rest.lines().next()?;
            let at = self.line;
            if line.trim().is_empty() {
                self.skip_line();
                continue;
            }
            if !line.contains('"') {
                self.skip_line();
                return Some((at, Ok(line.split(',').map(|cell| cell.trim().into()).collect())));
            }
            let cells = self.quoted();
            self.skip_line();
            return Some((at, cells));
        }
    }
}
