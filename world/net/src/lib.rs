//! libp2p: peers, streams, bitswap.
