//! temp
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut c = adit::Config::single(a[1].parse().unwrap(), adit::config::ServerTls::new(&a[3], &a[4]), a[2].parse().unwrap());
    c.shards.count = a[5].parse().ok();
    c.log.level = log::LevelFilter::Debug;
    let _g = adit::logging::install(&c.log).unwrap();
    let s = adit::Server::new(c).unwrap_or_else(|e| { eprintln!("{e}"); std::process::exit(1) });
    println!("{:?}", s.listeners());
    let h = s.handle();
    let r = s.start().unwrap();
    println!("ring {:?}", adit::sys::ring::setup());
    std::thread::spawn(move || loop { std::thread::sleep(std::time::Duration::from_secs(1)); let mut l = String::new(); if std::io::stdin().read_line(&mut l).unwrap_or(0) == 0 { return }; if l.trim()=="q" { h.shutdown(); } else { println!("{}", serde_json::to_string(&h.stats().unwrap()).unwrap()); }});
    println!("{:?}", r.wait());
}
