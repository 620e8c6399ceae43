//! Bytes a second of a 96 MiB file from one node to another over loopback, both in memory.
#![allow(clippy::print_stdout, reason = "this program's only purpose is to print")]

mod memory;

use memory::Memory;
use std::sync::Arc;
use std::time::Instant;
use talkoo_net::{BlockStore, FetchOptions, Net, NetConfig, peer_id_of};
use talkoo_store::Block;
use talkoo_store::unixfs::{Importer, Profile};
use tokio::sync::mpsc;

const MIB: usize = 96;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Arc::new(Memory::default());
    let (mut importer, mut state) = (Importer::new(Profile::default()), 1u64);
    let mut keep = |block: Block| server.put(&[block]);
    for _ in 0..MIB {
        let words = (0..1 << 17).flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_le_bytes()
        });
        importer.push(&words.collect::<Vec<u8>>(), &mut keep)?;
    }
    let root = importer.finish(&mut keep)?;
    for transport in ["/tcp/", "/quic-v1"] {
        for _ in 0..3 {
            let (events, mut inbox) = mpsc::channel(64);
            tokio::spawn(async move { while inbox.recv().await.is_some() {} });
            let a = Net::start(NetConfig::loopback([7; 32], "bench"), server.clone(), events.clone()).await?;
            let b = Net::start(NetConfig::loopback([9; 32], "bench"), Arc::new(Memory::default()), events).await?;
            let addr = a.addresses().into_iter().find(|x| x.to_string().contains(transport)).ok_or("no address")?;
            let peer = b.dial(addr).await?;
            let start = Instant::now();
            let fetched = b
                .fetch(
                    root.cid,
                    FetchOptions { from: peer_id_of(&peer).into_iter().collect(), ..FetchOptions::default() },
                    |_| {},
                )
                .await?;
            let rate = fetched.bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
            println!("{} {} blocks, {rate:.0} MB/s", transport.trim_matches('/'), fetched.blocks);
            b.shutdown().await;
            a.shutdown().await;
        }
    }
    Ok(())
}
