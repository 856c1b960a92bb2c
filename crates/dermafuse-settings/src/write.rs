use serde::Serialize;
use serde_json::{Map, Value};

use crate::overlay::NONE;
use crate::settings::quoted;

/// Writes settings as a TOML text that [`Settings`](crate::Settings) read back to the same values: with every setting, and the
/// word `none` where there is no value.
///
/// # Panics
/// If the value is no table of settings, or has keys that are no text.
///
/// ```
/// use dermafuse_settings::to_toml;
///
/// let settings = serde_json::json!({ "seed": 1, "training": { "rate": 1e-5, "patience": null, "stages": [true, false] } });
/// let text = "seed = 1\n\n[training]\npatience = \"none\"\nrate = 1e-5\nstages = [true, false]\n";
/// assert_eq!(to_toml(&settings), text);
/// ```
#[must_use]
pub fn to_toml(settings: &impl Serialize) -> String {
    let Ok(Value::Object(table)) = serde_json::to_value(settings) else { panic!("settings are a table") };
    let mut text = String::new();
    write_table(&mut text, "", &table);
    text.trim_start().to_owned()
}

fn write_table(text: &mut String, path: &str, table: &Map<String, Value>) {
    let (tables, values): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| is_table(value));
    if !path.is_empty() && (!values.is_empty() || tables.is_empty()) {
        text.push_str(&format!("\n[{path}]\n"));
    }
    for (key, value) in values {
        text.push_str(&format!("{} = {}\n", key_text(key), inline(value)));
    }
    for (key, value) in tables {
        let key = key_text(key);
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        let Value::Object(table) = value else { unreachable!("it was sorted") };
        write_table(text, &path, table);
    }
}

fn is_table(value: &Value) -> bool {
    value.is_object()
}

fn key_text(key: &str) -> String {
    let is_bare = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    match !key.is_empty() && key.chars().all(is_bare) {
        true => key.to_owned(),
        false => quoted(key),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Null => quoted(NONE),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(number) => format!("{number:?}"),
            None => number.to_string(),
        },
        Value::String(text) => quoted(text),
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries = table.iter().map(|(key, value)| format!("{} = {}", key_text(key), inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}
