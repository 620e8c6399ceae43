use super::Random;
use crate::sample::{FORBIDDEN, Sampler, argmax, draw, sample};
use talkoo_base::GenerateParams;
use talkoo_base::generate::BIAS_BAN_Q16;

fn params(temperature_q16: u32) -> GenerateParams {
    GenerateParams { temperature_q16, ..GenerateParams::default() }
}

/// How often each token comes in `count` draws.
fn counts(logits: &[i64], params: &GenerateParams, count: u32) -> Vec<u32> {
    let mut out = vec![0; logits.len()];
    for i in 0..count {
        out[sample(logits, params, 7, i) as usize] += 1;
    }
    out
}

#[test]
fn greedy_takes_the_largest_and_the_lowest_of_equals() {
    assert_eq!(argmax(&[1, 5, 3, 5]), 1);
    assert_eq!(sample(&[-9, -7, -7], &params(0), 0, 0), 1);
    assert_eq!(sample(&[4], &params(1 << 16), 0, 0), 0);
}

#[test]
fn draws_are_fixed() {
    assert_eq!(draw(0, 0), 2_414_392_623_542_554_562);
    assert_eq!(draw(u64::MAX, 31), 10_025_364_061_112_318_235);
}

#[test]
fn temperatures_from_cold_to_hot() {
    let logits = [0, 1 << 16, 2 << 16, -(1 << 39)];
    assert_eq!(counts(&logits, &params(1), 100), [0, 0, 100, 0], "nearly zero is greedy");
    assert_eq!(counts(&[300, 300, 200], &params(1), 1000)[2], 0, "but equals share");
    // e^0 : e^1 : e^2 = 9.0 : 24.5 : 66.5 per cent
    let warm = counts(&logits, &params(1 << 16), 10_000);
    for (found, expected) in warm.iter().zip([900, 2447, 6652, 0]) {
        assert!(found.abs_diff(expected) < 200, "{warm:?}");
    }
    let hot = counts(&logits[..3], &params(u32::MAX), 9_000);
    assert!(hot.iter().all(|c| c.abs_diff(3_000) < 250), "the hottest is nearly even: {hot:?}");
}

#[test]
fn filters_keep_prefixes() {
    let logits: Vec<i64> = [8i64, 7, 6, 5, 4].iter().map(|l| l << 15).collect();
    let base = params(1 << 17);
    let support = |p: &GenerateParams| counts(&logits, p, 3000).iter().map(|c| u32::from(*c > 0)).collect::<Vec<_>>();
    assert_eq!(support(&base), [1, 1, 1, 1, 1]);
    assert_eq!(support(&GenerateParams { top_k: 2, ..base.clone() }), [1, 1, 0, 0, 0]);
    assert_eq!(support(&GenerateParams { top_k: 99, ..base.clone() }), [1, 1, 1, 1, 1]);
    assert_eq!(support(&GenerateParams { top_p_q16: 0, ..base.clone() }), [1, 0, 0, 0, 0]);
    assert_eq!(support(&GenerateParams { top_p_q16: 40_000, ..base.clone() }), [1, 1, 1, 0, 0]);
    assert_eq!(support(&GenerateParams { top_p_q16: 40_000, top_k: 2, ..base.clone() }), [1, 1, 0, 0, 0]);
    assert_eq!(support(&GenerateParams { min_p_q16: 65_536, ..base.clone() }), [1, 0, 0, 0, 0]);
    assert_eq!(support(&GenerateParams { min_p_q16: 40_000, ..base.clone() }), [1, 1, 0, 0, 0]);
    assert_eq!(support(&GenerateParams { min_p_q16: u32::MAX, ..base }), [1, 0, 0, 0, 0]);
}

#[test]
fn top_p_at_exactly_the_mass_keeps_no_more() {
    // Four equal logits: half of the mass is exactly two of them, in order of their ids.
    let p = GenerateParams { top_p_q16: 32_768, ..params(1 << 16) };
    let found = counts(&[5, 5, 5, 5], &p, 2000);
    assert!(found[0] > 900 && found[1] > 900 && found[2..] == [0, 0], "{found:?}");
}

#[test]
fn biases_and_penalties_change_logits_in_order() {
    type Change = fn(&mut GenerateParams);
    const X: i64 = FORBIDDEN;
    // Logits 3, -3, 0.5, 1; the prompt has tokens 1 and 2, the output tokens 0, 2 and 2.
    let logits = [3 << 16, -3 << 16, 1 << 15, 1 << 16];
    let cases: [(&str, Change, [i64; 4]); 9] = [
        ("nothing", |_| (), logits),
        ("repeat 1.5", |p| p.repeat_penalty_q16 = 3 << 15, [2 << 16, -9 << 15, 21_845, 1 << 16]),
        ("repeat 0.5", |p| p.repeat_penalty_q16 = 1 << 15, [6 << 16, -3 << 15, 1 << 16, 1 << 16]),
        ("frequency 0.5", |p| p.frequency_penalty_q16 = 1 << 15, [5 << 15, -3 << 16, -1 << 15, 1 << 16]),
        ("presence -0.5", |p| p.presence_penalty_q16 = -1 << 15, [7 << 15, -3 << 16, 1 << 16, 1 << 16]),
        ("bias", |p| p.logit_bias = vec![(1, 7 << 16), (3, -1 << 16)], [3 << 16, 4 << 16, 1 << 15, 0]),
        ("ban", |p| p.logit_bias = vec![(0, -100 << 16), (99, 1)], [X, -3 << 16, 1 << 15, 1 << 16]),
        (
            "bias, then repeat, then the others",
            |p| {
                p.logit_bias = vec![(1, 7 << 16)];
                (p.repeat_penalty_q16, p.frequency_penalty_q16, p.presence_penalty_q16) = (2 << 16, 1 << 16, 1 << 15);
            },
            [0, 2 << 16, -9 << 14, 1 << 16],
        ),
        (
            "a ban stays one",
            |p| {
                p.logit_bias = vec![(0, -100 << 16), (2, -100 << 16)];
                (p.repeat_penalty_q16, p.frequency_penalty_q16) = (1, -2 << 16);
            },
            [X, -3, X, 1 << 16],
        ),
    ];
    for (name, change, want) in cases {
        let mut params = params(0);
        change(&mut params);
        let mut sampler = Sampler::new(&params, 0, &[1, 2]);
        [0, 2, 2].into_iter().for_each(|token| sampler.push(token));
        let seen = std::cell::RefCell::new(Vec::new());
        let token = sampler.next(&logits, None, |shaped| {
            *seen.borrow_mut() = shaped.to_vec();
            argmax(shaped)
        });
        assert_eq!(*seen.borrow(), want, "{name}");
        assert_eq!(token, Some(argmax(&want)), "{name}");
    }
}

#[test]
fn what_is_not_allowed_does_not_come_however_hot() {
    let logits = [1 << 40, 5, -(1 << 40), 4];
    for temperature in [0, 1, 1 << 16, u32::MAX] {
        let p = GenerateParams { logit_bias: vec![(1, BIAS_BAN_Q16)], ..params(temperature) };
        let sampler = Sampler::new(&p, 3, &[]);
        let next = |allowed: &dyn Fn(u32) -> bool| sampler.next(&logits, Some(allowed), argmax);
        for only in [0, 2, 3] {
            assert_eq!(next(&|id| id == only), Some(only), "temperature {temperature}");
        }
        assert_eq!((next(&|id| id == 1), next(&|_| false)), (None, None), "temperature {temperature}");
    }
}

#[test]
fn a_sampler_draws_by_number_of_token() {
    let (logits, p) = ([9, 9, 9, 9], params(1 << 16));
    let mut sampler = Sampler::new(&p, 7, &[1]);
    for index in 0..50 {
        let token = sampler.next(&logits, None, argmax).unwrap();
        assert_eq!(token, sample(&logits, &p, 7, index));
        sampler.push(token);
    }
}

/// The same by sorting everything, as a reader of the rule would write it.
fn plain_sample(logits: &[i64], p: &GenerateParams, seed: u64, index: u32) -> u32 {
    let max = *logits.iter().max().unwrap();
    let weight = |l: i64| {
        let u = u128::from((max - l) as u64) * 1_549_082_005 / (u128::from(p.temperature_q16) << 10);
        u128::from(crate::exp::exp2neg(u.min(64 << 20) as i64) as u64)
    };
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(logits[*i]), *i));
    let mut all: Vec<(usize, u128)> = order.into_iter().map(|i| (i, weight(logits[i]))).collect();
    if p.top_k > 0 {
        all.truncate(p.top_k as usize);
    }
    let total: u128 = all.iter().map(|c| c.1).sum();
    let mut sum = 0;
    let enough = |c: &(usize, u128)| {
        sum += c.1;
        sum * 65_536 >= u128::from(p.top_p_q16) * total
    };
    let kept = all.iter().position(enough).map_or(all.len(), |i| i + 1);
    all.truncate(kept);
    let first = all[0].1;
    all.retain(|c| c.1 * 65_536 >= u128::from(p.min_p_q16) * first);
    let target = u128::from(draw(seed, index)) * all.iter().map(|c| c.1).sum::<u128>();
    let mut sum = 0;
    let found = all.iter().find(|c| {
        sum += c.1;
        sum << 64 > target
    });
    found.unwrap().0 as u32
}

#[test]
fn it_equals_the_rule_written_plainly() {
    let mut random = Random(11);
    for case in 0..3000 {
        let bits = [2, 10, 17, 20, 39][case % 5];
        let logits: Vec<i64> = (0..1 + random.next() % 60).map(|_| random.signed(bits)).collect();
        let p = GenerateParams {
            temperature_q16: 1 + (random.next() % [3, 1 << 16, 1 << 20, u64::from(u32::MAX)][case % 4]) as u32,
            top_k: (random.next() % 30) as u32 * (case as u32 % 2),
            top_p_q16: if case % 3 == 0 { 65_536 } else { (random.next() % 65_537) as u32 },
            min_p_q16: if case % 7 < 4 { 0 } else { (random.next() % 65_537) as u32 },
            ..GenerateParams::default()
        };
        let seed = random.next();
        assert_eq!(sample(&logits, &p, seed, 3), plain_sample(&logits, &p, seed, 3), "case {case}: {p:?} {logits:?}");
    }
}
