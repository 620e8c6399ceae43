//! Cards, ranking, reservations, measured speeds, and the reason for every no.
