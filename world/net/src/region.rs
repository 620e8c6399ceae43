//! The country where a node's owner says that it is. It travels in the agent's version that identify tells
//! (github.com/libp2p/specs, identify), as a comment behind the product (RFC 9110, 10.1.5): `talkoo/0.1.0 (region=FI)`. Nobody checks it.

use std::fmt;
use std::str::FromStr;

/// A code of ISO 3166-1 alpha-2: two letters from A to Z. Whether a country has it is not looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Region([u8; 2]);

impl Region {
    /// What an agent's version says of it.
    #[must_use]
    pub fn of_agent(agent: &str) -> Option<Self> {
        let (_, rest) = agent.split_once("(region=")?;
        rest.split_once(')')?.0.parse().ok()
    }

    /// An agent's version that says it.
    #[must_use]
    pub fn agent(self, product: &str) -> String {
        format!("{product} (region={self})")
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl FromStr for Region {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Self([*a, *b])),
            _ => Err("say the country's two letters, as FI or DE (ISO 3166-1 alpha-2)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_say_it_or_not() {
        let finland: Region = "FI".parse().unwrap();
        assert_eq!(Region::of_agent(&finland.agent("talkoo/0.1.0")), Some(finland));
        let none = [
            "",
            "talkoo/0.1.0",
            "kubo/0.42 (FI)",
            "talkoo/1 (region=",
            "talkoo/1 (region=fi)",
            "talkoo/1 (region=FIN)",
            "talkoo/1 (region=F)",
            "talkoo/1 (region=Ä)",
            "talkoo/1 (region=<>)",
        ];
        for agent in none {
            assert_eq!(Region::of_agent(agent), None, "{agent}");
        }
        for text in ["", "F", "fi", "F1", "FIN", "Ü"] {
            assert!(text.parse::<Region>().is_err(), "{text}");
        }
    }
}
