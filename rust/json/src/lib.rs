//! Text as JSON has it in ASCII, the way Python's `json` writes it by default: written, and measured. What is sent is
//! measured before it is written, so both stand here, and a test holds the one against the other.

mod length;
mod quote;
mod scan;

pub use length::text_len;
pub use quote::quote;
pub use scan::first_that;
