//! What runs came to, for people: the figures of a table, and a page that stands for itself.

mod html;
mod table;
mod words;

pub use html::{Page, html};
pub use table::{Row, table};
pub use words::{Span, dollars, per_mille};
