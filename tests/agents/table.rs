//! The table: what it says in `docs/reliability/agents.md`, and what the clients did.

use std::{fs, path::Path};

use crate::{cells::Cell, columns::Column, nodes::Mode, rows::Row, selected};

pub struct Table {
    mode: Mode,
    rows: Vec<(Row, Vec<Cell>)>,
    columns: Vec<Column>,
}

impl Table {
    pub fn new(mode: Mode, rows: &[Row]) -> Self {
        Self { mode, rows: rows.iter().map(|&row| (row, Vec::new())).collect(), columns: Vec::new() }
    }

    pub fn add(&mut self, column: Column, cells: Vec<Cell>) {
        self.columns.push(column);
        for ((_, row), cell) in self.rows.iter_mut().zip(cells) {
            row.push(cell);
        }
    }

    /// What is not allowed, and where the page differs.
    pub fn faults(&self) -> Vec<String> {
        let text = self.text();
        println!("\n{} node(s)\n\n{text}", self.mode.name());
        let mut faults = Vec::new();
        for (row, cells) in &self.rows {
            for (column, cell) in self.columns.iter().zip(cells) {
                let at = format!("{}/{}: {}", self.mode.name(), column.name(), row.title());
                if selected().is_some() {
                    println!("{at}: {:#?}", cell.reports);
                }
                faults.extend(cell.faults.iter().map(|fault| format!("{at}: {fault}")));
            }
        }
        if selected().is_none() && faults.is_empty() {
            faults.extend(self.compare(&text));
        }
        faults
    }

    /// A row for each client.
    fn text(&self) -> String {
        let titles: Vec<_> = self.columns.iter().map(|column| column.title()).collect();
        let mut text = format!("| client | {} |\n|{}\n", titles.join(" | "), " --- |".repeat(titles.len() + 1));
        for (row, cells) in &self.rows {
            let cells: Vec<_> = cells.iter().map(Cell::to_string).collect();
            text += &format!("| {} | {} |\n", row.title(), cells.join(" | "));
        }
        text
    }

    /// Compares the rows with the page, or writes them into it.
    fn compare(&self, text: &str) -> Vec<String> {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reliability/agents.md");
        let old = fs::read_to_string(&page).unwrap();
        let begin = format!("<!-- {} -->\n", self.mode.name());
        let (before, rest) = old.split_once(&begin).expect("the page has a place for the table");
        let (stated, after) = rest.split_once("\n<!-- end -->").expect("and an end of it");
        if std::env::var_os("TOWER_SSE_WRITE_MATRIX").is_some() {
            fs::write(&page, format!("{before}{begin}\n{text}\n<!-- end -->{after}")).unwrap();
            return Vec::new();
        }
        let differs = text.lines().filter(|line| !stated.lines().any(|stated| stated == *line));
        differs.map(|line| format!("docs/reliability/agents.md does not say so: {line}")).collect()
    }
}
