use crate::trace::{ChunkBuilder, Closed, chunk_digest, state_digest, states_root, trace_root};
use talkoo_base::{Digest, Logprobs, TokenLogprobs, sha256};

#[test]
fn chunks_cover_the_states_their_tokens_came_from() {
    let id = sha256(&[b"job"]);
    let state =
        |position: u32| vec![sha256(&[b"a", &position.to_be_bytes()]), sha256(&[b"b", &position.to_be_bytes()])];
    // Prompt of 3 positions, 40 output tokens: tokens 0..32 came from positions 2..34.
    let mut builder = ChunkBuilder::new(id);
    builder.push_states(&state(0));
    builder.push_states(&state(1));
    let mut closed = Vec::new();
    for token in 0..40 {
        builder.push_states(&state(2 + token));
        if builder.push_token(token, None) {
            closed.push(builder.close().unwrap());
        }
    }
    closed.push(builder.close().unwrap());
    assert_eq!(builder.close(), None);
    let cover = |range: std::ops::Range<u32>| states_root(&range.flat_map(state).collect::<Vec<_>>());
    let tokens: Vec<u32> = (0..40).collect();
    for (index, tokens, states) in [(0, &tokens[..32], 0..34), (1, &tokens[32..], 34..42)] {
        let digest = chunk_digest(&id, index, tokens, &cover(states));
        assert_eq!(closed[index as usize], Closed { index, tokens: tokens.to_vec(), digest, logprobs: None });
    }
    assert_eq!(builder.digests(), [closed[0].digest, closed[1].digest]);
}

#[test]
fn a_chunk_commits_to_its_log_probabilities() {
    let (id, state) = (sha256(&[b"job"]), [sha256(&[b"state"])]);
    let told = TokenLogprobs { chosen: -2, top: vec![(7, -1), (8, i32::MIN)] };
    let mut builder = ChunkBuilder::new(id);
    builder.push_states(&state);
    builder.push_token(7, Some(&told));
    let closed = builder.close().unwrap();
    let bytes = [-2i32, 2, 7, -1, 8, i32::MIN].iter().flat_map(|n| n.to_be_bytes()).collect();
    let logprobs = Logprobs { inner: chunk_digest(&id, 0, &[7], &states_root(&state)), bytes };
    assert_eq!(closed.digest, sha256(&[b"talkoo/logprobs/1", &logprobs.inner.0, &logprobs.bytes]));
    assert_eq!(TokenLogprobs::read_all(&logprobs.bytes), Some(vec![told]));
    assert_eq!(closed.logprobs, Some(logprobs));
}

#[test]
fn golden_digests() {
    let state = state_digest(&[1, -1], &[2, 3], &[4]);
    assert_eq!(state, sha256(&[&1i64.to_le_bytes(), &(-1i64).to_le_bytes(), &[2, 3, 4]]));
    let chunk = chunk_digest(&Digest::ZERO, 1, &[7, 8], &state);
    assert_eq!(chunk.to_string(), "a6c9317f00aa93edfe5141529966d9b90a29579d0b614530fb70b4bafcfa1bcc");
    assert_eq!(
        trace_root(&[chunk, state]).to_string(),
        "973a450d9bbc40c07a00ed05be450e086284d03d31ba542e3a89d668abed8bfc"
    );
}
