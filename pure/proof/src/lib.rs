//! Receipts, audits, verdicts and the evidence they leave.
