//! Owner first: when the machine is not for others, whatever they pay.
//!
//! What holds is looked at every five seconds. As soon as one limit is touched no new work is taken; what runs has the
//! reclaim window to come to its end, then it goes back to its clients, paid chunk by chunk as far as it came.

use super::executor::Load;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};

/// How often the senses look.
pub(super) const LOOK: Duration = Duration::from_secs(5);
const DAY_MIN: u32 = 24 * 60;

/// A time of day, every day: from its first minute on, before its second; over midnight if that is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hours {
    from: u32,
    to: u32,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':').unwrap_or((text, "0"));
            let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours <= 24 && minutes < 60 && hours * 60 + minutes <= DAY_MIN).then_some(hours * 60 + minutes)
        };
        let ends = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
        let (from, to) = ends.filter(|(from, to)| from != to).ok_or("two times of the day, as 22:00-7:30")?;
        Ok(Self { from, to })
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = [self.from, self.to];
        write!(f, "{}:{:02}-{}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl Hours {
    fn has(self, minute: u32) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// What an owner allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Only at these times of the day, local time; at any if there are none.
    pub(crate) hours: Vec<Hours>,
    /// Only while other programs use no more than this part of the processor, in percent.
    pub(crate) others_max: Option<u8>,
    /// Only on mains power.
    pub(crate) mains_only: bool,
    /// Only while no part of the machine is hotter, in degrees Celsius.
    pub(crate) celsius_max: Option<u32>,
    /// How long running work may go on when a limit is touched.
    pub(crate) reclaim: Duration,
}

/// What the machine is like at a moment; nothing of what it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Senses {
    /// Minutes since midnight, local time.
    pub(crate) minute: u32,
    /// Part of the processor that other programs use, in percent.
    pub(crate) others: Option<u8>,
    /// Whether it runs on its battery.
    pub(crate) on_battery: Option<bool>,
    /// Its hottest part, in degrees Celsius.
    pub(crate) celsius: Option<u32>,
}

impl Limits {
    /// Seconds of the reclaim window, unless told otherwise.
    pub(crate) const RECLAIM_S: u64 = 10;

    /// Whether there are any.
    pub(crate) fn is_any(&self) -> bool {
        !self.hours.is_empty() || self.others_max.is_some() || self.mains_only || self.celsius_max.is_some()
    }

    /// The first limit that is touched.
    pub(crate) fn against(&self, senses: &Senses) -> Option<Refusal> {
        let no = |message: String, hint: &str| Some(Refusal::new(RefusalCode::NotProviding, message, hint));
        if !self.hours.is_empty() && !self.hours.iter().any(|hours| hours.has(senses.minute)) {
            let (hour, minute) = (senses.minute / 60, senses.minute % 60);
            return no(format!("it is {hour}:{minute:02}, outside the owner's hours"), "see `talkoo provide limits`");
        }
        if self.mains_only && senses.on_battery == Some(true) {
            return no("the machine runs on its battery".into(), "plug it in, or see `talkoo provide limits`");
        }
        if let (Some(most), Some(now)) = (self.celsius_max, senses.celsius)
            && now > most
        {
            let why = no(format!("the machine is at {now} °C"), "it cools down, or see `talkoo provide limits`");
            return why.map(|why| why.with(most, now));
        }
        if let (Some(most), Some(now)) = (self.others_max, senses.others)
            && now > most
        {
            let why = no(format!("other programs use {now} % of the processor"), "see `talkoo provide limits`");
            return why.map(|why| why.with(most, now));
        }
        None
    }
}

impl Senses {
    /// Looks at the machine. Linux tells all of it (power_supply and thermal of sysfs, proc(5)).
    pub(crate) fn look(load: &mut Load) -> Self {
        let now = jiff::Zoned::now();
        let minute = u32::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).unwrap_or(0);
        let root = Path::new("/sys/class");
        Self { minute, others: load.others(), on_battery: on_battery(root), celsius: celsius(root) }
    }
}

fn folders(path: &Path) -> impl Iterator<Item = std::path::PathBuf> + use<> {
    std::fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn text(path: &Path) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}

/// On battery if the machine has one, and of the supplies of mains none is plugged in.
fn on_battery(class: &Path) -> Option<bool> {
    let is_own = |supply: &std::path::PathBuf| {
        text(&supply.join("type")).is_some_and(|kind| kind == "Battery")
            && text(&supply.join("scope")).is_none_or(|scope| scope != "Device")
    };
    // A desktop has a USB port that is no supply, and the batteries of its mouse.
    folders(&class.join("power_supply")).find(is_own)?;
    let mains = folders(&class.join("power_supply"))
        .filter(|supply| text(&supply.join("type")).is_some_and(|kind| kind == "Mains" || kind == "USB"))
        .filter_map(|supply| Some(text(&supply.join("online"))? == "1"));
    mains.reduce(|one, other| one || other).map(|plugged| !plugged)
}

/// The hottest zone; sensors tell thousandths of a degree.
fn celsius(class: &Path) -> Option<u32> {
    let zones = folders(&class.join("thermal")).filter_map(|zone| text(&zone.join("temp"))?.parse::<u32>().ok());
    zones.max().map(|milli| milli / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_and_go_over_midnight() {
        let cases = [
            ("22:00-7:30", 22 * 60, true),
            ("22:00-7:30", 7 * 60 + 29, true),
            ("22:00-7:30", 7 * 60 + 30, false),
            ("22:00-7:30", 12 * 60, false),
            ("9-17", 9 * 60, true),
            ("9-17", 17 * 60, false),
            ("0-24", 23 * 60 + 59, true),
        ];
        for (text, minute, want) in cases {
            assert_eq!(text.parse::<Hours>().unwrap().has(minute), want, "{text} {minute}");
        }
        for bad in ["", "9", "9-9", "25-1", "9:60-10", "24:01-1", "a-b", "-1-2"] {
            assert!(bad.parse::<Hours>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_owner_comes_first() {
        let calm = Senses { minute: 600, others: Some(10), on_battery: Some(false), celsius: Some(50) };
        let any = Limits::default();
        let at_night = Limits { hours: vec!["22-6".parse().unwrap()], ..any.clone() };
        let idle = Limits { others_max: Some(20), ..any.clone() };
        let cool = Limits { celsius_max: Some(80), ..any.clone() };
        let mains = Limits { mains_only: true, ..any.clone() };
        let cases = [
            (&any, Senses { others: Some(100), on_battery: Some(true), celsius: Some(110), ..calm }, None),
            (&at_night, calm, Some("it is 10:00")),
            (&at_night, Senses { minute: 23 * 60, ..calm }, None),
            (&idle, calm, None),
            (&idle, Senses { others: Some(21), ..calm }, Some("21 % of the processor")),
            (&idle, Senses { others: None, ..calm }, None),
            (&cool, Senses { celsius: Some(80), ..calm }, None),
            (&cool, Senses { celsius: Some(81), ..calm }, Some("81 °C")),
            (&mains, calm, None),
            (&mains, Senses { on_battery: Some(true), ..calm }, Some("battery")),
            (&mains, Senses { on_battery: None, ..calm }, None),
        ];
        for (limits, senses, want) in cases {
            let said = limits.against(&senses).map(|why| why.message);
            assert_eq!(said.is_some(), want.is_some(), "{limits:?} {senses:?}: {said:?}");
            assert!(want.is_none_or(|want| said.clone().is_some_and(|said| said.contains(want))), "{want:?}: {said:?}");
        }
        assert!(!any.is_any() && [&at_night, &idle, &cool, &mains].iter().all(|limits| limits.is_any()));
    }

    #[test]
    fn what_sysfs_says_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!((on_battery(dir.path()), celsius(dir.path())), (None, None));
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("power_supply/AC/type", "Mains\n");
        put("power_supply/AC/online", "0\n");
        put("power_supply/mouse/type", "Battery\n");
        put("power_supply/mouse/scope", "Device\n");
        assert_eq!(on_battery(dir.path()), None, "a desktop has none");
        put("power_supply/BAT0/type", "Battery\n");
        assert_eq!(on_battery(dir.path()), Some(true));
        put("power_supply/ucsi/type", "USB\n");
        put("power_supply/ucsi/online", "1\n");
        assert_eq!(on_battery(dir.path()), Some(false));
        put("thermal/thermal_zone0/temp", "41000\n");
        put("thermal/thermal_zone1/temp", "67850\n");
        put("thermal/cooling_device0/type", "fan\n");
        assert_eq!(celsius(dir.path()), Some(67));
    }
}
