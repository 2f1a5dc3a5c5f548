//! Pieces that texts of every kind are made of: what the format treats specially, and what it does not.

pub const PIECES: [&str; 20] = [
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\u{1}",
    "\t",
    "\u{b}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    " ",
    ":",
    "x",
    "é",
    "🦀",
    "data: ",
    "id: 1",
    "event: gap",
    "retry: 1",
];
