//! Writes checkpoints as `torch.save` does: a pickle of nested dicts, and the numbers beside it in a zip archive without compression.

/// What is in a checkpoint.
#[derive(Clone)]
pub(crate) enum Value {
    Dict(Vec<(String, Value)>),
    List(Vec<Value>),
    Int(u8),
    Text(&'static str),
    /// A `FloatTensor`.
    Floats(Vec<usize>, Vec<f32>),
    /// A `LongTensor` of no dimension.
    Count(i64),
}

/// A pickle of protocol 2, and the bytes of each storage.
pub(crate) fn pickle(value: &Value) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut program = vec![0x80, 2];
    let mut storages = Vec::new();
    write(value, &mut program, &mut storages);
    program.push(b'.');
    (program, storages)
}

fn text(text: &str, program: &mut Vec<u8>) {
    program.push(b'X');
    program.extend_from_slice(&(text.len() as u32).to_le_bytes());
    program.extend_from_slice(text.as_bytes());
}

fn whole(number: usize, program: &mut Vec<u8>) {
    program.push(b'J');
    program.extend_from_slice(&(number as i32).to_le_bytes());
}

fn write(value: &Value, program: &mut Vec<u8>, storages: &mut Vec<Vec<u8>>) {
    match value {
        Value::Dict(entries) => {
            program.extend_from_slice(b"}(");
            for (key, value) in entries {
                text(key, program);
                write(value, program, storages);
            }
            program.push(b'u');
        }
        Value::List(items) => {
            program.extend_from_slice(b"](");
            items.iter().for_each(|item| write(item, program, storages));
            program.push(b'e');
        }
        Value::Int(number) => program.extend_from_slice(&[b'K', *number]),
        Value::Text(words) => text(words, program),
        Value::Floats(shape, values) => {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensor("FloatStorage", shape, values.len(), bytes, program, storages);
        }
        Value::Count(number) => tensor("LongStorage", &[], 1, number.to_le_bytes().to_vec(), program, storages),
    }
}

fn tensor(
    storage: &str,
    shape: &[usize],
    numbers: usize,
    bytes: Vec<u8>,
    program: &mut Vec<u8>,
    storages: &mut Vec<Vec<u8>>,
) {
    program.extend_from_slice(b"ctorch._utils\n_rebuild_tensor_v2\n(("); // the function, its arguments, a persistent id
    text("storage", program);
    program.extend_from_slice(format!("ctorch\n{storage}\n").as_bytes());
    text(&storages.len().to_string(), program);
    text("cpu", program);
    whole(numbers, program);
    program.extend_from_slice(b"tQK\x00("); // the storage, an offset of 0, the sizes
    shape.iter().for_each(|&size| whole(size, program));
    program.extend_from_slice(b"t(");
    for dimension in 0..shape.len() {
        whole(shape[dimension + 1..].iter().product(), program); // strides
    }
    program.extend_from_slice(b"t\x89ccollections\nOrderedDict\n)RtR");
    storages.push(bytes);
}

/// The archive that `torch.save(value, "STEM.pth")` writes, and further entries.
pub(crate) fn archive(stem: &str, value: &Value, more: &[&str]) -> Vec<u8> {
    let (program, storages) = pickle(value);
    let mut entries = vec![("data.pkl".to_owned(), program), ("byteorder".to_owned(), b"little".to_vec())];
    entries.extend(storages.into_iter().enumerate().map(|(index, bytes)| (format!("data/{index}"), bytes)));
    entries.push(("version".to_owned(), b"3\n".to_vec()));
    entries.push((".data/serialization_id".to_owned(), vec![b'1'; 40]));
    entries.extend(more.iter().map(|name| (name.to_string(), Vec::new())));
    zip(entries.into_iter().map(|(name, bytes)| (format!("{stem}/{name}"), bytes)).collect())
}

/// An archive as PyTorch's writer lays it out: every entry begins at a multiple of 64 bytes, and between the directory and its end
/// record lie the end record of 64-bit archives and its locator.
pub(crate) fn zip(entries: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    let mut file: Vec<u8> = Vec::new();
    let mut directory = Vec::new();
    for (name, bytes) in &entries {
        let offset = file.len() as u32;
        let size = (bytes.len() as u32).to_le_bytes();
        let unpadded = file.len() + 30 + name.len() + 4;
        let padding = unpadded.next_multiple_of(64) - unpadded;
        file.extend_from_slice(b"PK\x03\x04\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00");
        file.extend_from_slice(&[size, size].concat());
        file.extend_from_slice(&(name.len() as u16).to_le_bytes());
        file.extend_from_slice(&(padding as u16 + 4).to_le_bytes());
        file.extend_from_slice(name.as_bytes());
        file.extend_from_slice(b"FB");
        file.extend_from_slice(&(padding as u16).to_le_bytes());
        file.extend(std::iter::repeat_n(b'Z', padding));
        file.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00");
        directory.extend_from_slice(&[size, size].concat());
        directory.extend_from_slice(&(name.len() as u16).to_le_bytes());
        directory.extend_from_slice(&[0; 12]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (start, size, count) = (file.len() as u64, directory.len() as u64, entries.len() as u64);
    file.extend_from_slice(&directory);
    let end64 = file.len() as u64;
    file.extend_from_slice(b"PK\x06\x06");
    file.extend_from_slice(&44_u64.to_le_bytes());
    file.extend_from_slice(&[0x1e, 3, 0x2d, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for number in [count, count, size, start] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(b"PK\x06\x07\x00\x00\x00\x00");
    file.extend_from_slice(&end64.to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    file.extend_from_slice(b"PK\x05\x06\x00\x00\x00\x00");
    file.extend_from_slice(&(count as u16).to_le_bytes());
    file.extend_from_slice(&(count as u16).to_le_bytes());
    file.extend_from_slice(&(size as u32).to_le_bytes());
    file.extend_from_slice(&(start as u32).to_le_bytes());
    file.extend_from_slice(&[0, 0]);
    file
}
