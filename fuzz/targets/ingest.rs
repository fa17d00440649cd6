//! Lines of events, as a file brings them: taken in or refused, the file is sound, and its people can be erased.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let cdp = customerdb_fuzz::builder().in_memory().unwrap();
    let lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').take(16).map(<[u8]>::to_vec).collect();
    let many = lines.len() as u64;
    let report = cdp.ingest(lines).expect("a bad line is refused, and no error");
    assert_eq!(report.accepted + report.duplicates + report.withheld + report.rejected.len() as u64, many);
    assert_eq!(cdp.check().unwrap(), []);
    customerdb_fuzz::ask(&cdp);
    cdp.erase_all(cdp.profiles().unwrap().into_iter().map(|person| person.id)).unwrap();
    assert_eq!(cdp.stats().unwrap().identifiers, 0);
    assert_eq!(cdp.check().unwrap(), []);
});
