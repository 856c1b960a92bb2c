//! Writes a table of a million records, or loads and encodes it, and says how long that took and how much memory.
//!
//! ```text
//! cargo run --release -p dermafuse-data --example million_rows -- write FOLDER [ROWS]
//! cargo run --release -p dermafuse-data --example million_rows -- load FOLDER
//! ```
//!
//! `benches/metadata_reference.py FOLDER` runs this and pandas on the same table in turns.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use dermafuse_data::{LoadOptions, MetadataEncoder, MetadataRoles, described};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Cases that are encoded at a time.
const CHUNK: usize = 8_192;

const REGIONS: [&str; 14] = [
    "ARM", "NECK", "FACE", "HAND", "FOREARM", "CHEST", "NOSE", "THIGH", "SCALP", "EAR", "BACK", "FOOT", "ABDOMEN",
    "LIP",
];
const SYMPTOMS: [&str; 6] = ["itch", "grew", "hurt", "changed", "bleed", "elevation"];
const DIAGNOSES: [&str; 6] = ["ACK", "BCC", "MEL", "NEV", "SCC", "SEK"];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["write", folder] => write(Path::new(folder), 1_000_000),
        ["write", folder, rows] => write(Path::new(folder), rows.parse()?),
        ["load", folder] => load(Path::new(folder)),
        _ => Err("million_rows write FOLDER [ROWS] | load FOLDER".into()),
    }
}

fn write(folder: &Path, rows: usize) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut toml = BufWriter::new(File::create(folder.join("records.toml"))?);
    writeln!(toml, "name = 'records'\n[cases]\nfile = 'records.csv'\nid = 'record'\npatient = 'patient'")?;
    writeln!(toml, "[[tasks]]\nname = 'diagnosis'\ncolumn = 'diagnosis'\nclasses = {DIAGNOSES:?}")?;
    writeln!(toml, "[[fields]]\ncolumn = 'age'\nkind = 'numeric'\nrole = 'pre_diagnosis'")?;
    let categorical =
        [("sex", &["female", "male"][..]), ("skin_type", &["1", "2", "3", "4", "5", "6"]), ("region", &REGIONS)];
    let symptoms = SYMPTOMS.iter().map(|name| (*name, &["False", "True", "UNK"][..]));
    for (name, categories) in categorical.into_iter().chain(symptoms) {
        writeln!(toml, "[[fields]]\ncolumn = '{name}'\nkind = 'categorical'\nrole = 'pre_diagnosis'")?;
        writeln!(toml, "categories = {categories:?}")?;
    }
    toml.flush()?;

    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut table = BufWriter::new(File::create(folder.join("records.csv"))?);
    writeln!(table, "record,patient,age,sex,skin_type,region,{},diagnosis", SYMPTOMS.join(","))?;
    for row in 0..rows {
        let bits = rng.next_u64();
        let pick = |shift: u32, among: u64| ((bits >> shift) % among) as usize;
        // One in 16 of each is not recorded.
        let part = |shift: u32, text: &str| if pick(shift + 3, 16) == 0 { String::new() } else { text.to_owned() };
        let age = part(0, &(18 + pick(1, 77)).to_string());
        let sex = part(8, ["female", "male"][pick(9, 2)]);
        let skin = part(12, ["1", "2", "3", "4", "5", "6"][pick(13, 6)]);
        let region = part(20, REGIONS[pick(21, 14)]);
        write!(table, "R{row:07},P{:06},{age},{sex},{skin},{region}", row / 3)?;
        for symptom in 0..6 {
            write!(table, ",{}", part(26 + 4 * symptom, ["False", "True", "UNK"][pick(27 + 4 * symptom, 3)]))?;
        }
        writeln!(table, ",{}", DIAGNOSES[pick(54, 6)])?;
    }
    Ok(table.flush()?)
}

fn load(folder: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let set = described::load_with(folder.join("records.toml"), &LoadOptions::metadata_only())?;
    let loaded = start.elapsed();
    let encoder = MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::PreDiagnosis)?;
    let fitted = start.elapsed();
    let rows: Vec<usize> = (0..set.len()).collect();
    let mut sum = 0.0;
    for rows in rows.chunks(CHUNK) {
        sum += set.view(rows)?.encoded_metadata(&encoder)?.sum();
    }
    let encoded = start.elapsed();
    let seconds = [loaded, fitted - loaded, encoded - fitted, encoded].map(|time| format!("{:.2}", time.as_secs_f64()));
    println!("{} cases, {} columns, sum {sum:.1}", set.len(), encoder.width());
    println!("load {} s, fit {} s, encode {} s, in all {} s", seconds[0], seconds[1], seconds[2], seconds[3]);
    if let Some(peak) = peak_memory() {
        println!("peak memory {peak} MB");
    }
    Ok(())
}

/// The most memory that this process has held so far, in MB, where the system says it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1_000)
}
