//! What names of columns and their values tell.

use crate::Modality;
use crate::tables::oddity::LIKE_MISSING;
use crate::tables::spelling::name_key;

/// Words for a diagnosis, short and in full.
const DIAGNOSES: [&str; 34] = [
    "mel",
    "nev",
    "nv",
    "bcc",
    "scc",
    "ak",
    "ack",
    "akiec",
    "bkl",
    "sek",
    "sk",
    "df",
    "vasc",
    "sccka",
    "bowen",
    "unk",
    "inf",
    "lentigo",
    "benign",
    "malignant",
    "melanoma",
    "nevus",
    "naevus",
    "nevi",
    "naevi",
    "dermatofibroma",
    "hemangioma",
    "haemangioma",
    "eczema",
    "psoriasis",
    "dermatitis",
    "melanom",
    "basaliom",
    "spinaliom",
];
/// What names of diagnoses contain.
const PARTS_OF_DIAGNOSES: [&str; 9] =
    ["carcinoma", "melanoma", "nevus", "naevus", "keratosis", "fibroma", "benign", "malignan", "karzinom"];

/// Words of a name in lower case: parted by anything that is no letter or digit, and before a capital letter.
pub(super) fn tokens(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = ' ';
    for letter in name.chars() {
        let starts = letter.is_uppercase() && before.is_lowercase();
        if !letter.is_alphanumeric() || starts {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().expect("there is a word").extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether one of the words of a name is among these.
pub(super) fn has_word(name: &str, known: &[&str]) -> bool {
    tokens(name).iter().any(|word| known.contains(&word.as_str()))
}

/// Whether one of the words of a name begins with one of these.
pub(super) fn has_beginning(name: &str, known: &[&str]) -> bool {
    tokens(name).iter().any(|word| known.iter().any(|known| word.starts_with(known)))
}

/// Whether a name is that of an identifier.
pub(super) fn is_like_id(name: &str) -> bool {
    const LAST: [&str; 9] = ["no", "nr", "num", "number", "code", "key", "identifier", "index", "name"];
    const ENDS: [&str; 3] = ["id", "nr", "nummer"];
    tokens(name).last().is_some_and(|last| {
        LAST.contains(&last.as_str()) || ENDS.iter().any(|end| last.ends_with(end)) || last == "ids"
    })
}

/// Whether a name speaks of a patient.
pub(super) fn is_like_patient(name: &str) -> bool {
    has_beginning(name, &["patient", "subject", "person", "participant", "proband", "individual"])
        || has_word(name, &["pat", "pid", "mrn", "subj"])
}

/// Whether a name speaks of a lesion.
pub(super) fn is_like_lesion(name: &str) -> bool {
    has_beginning(name, &["lesion", "läsion", "mole"]) || has_word(name, &["spot", "wound"])
}

/// Whether a name speaks of an image.
pub(super) fn is_like_image(name: &str) -> bool {
    has_beginning(
        name,
        &["image", "img", "photo", "foto", "picture", "pic", "file", "bild", "isic", "jpg", "png", "derm", "clin"],
    )
}

/// Whether a text says that nothing is known. `none` is none of these words: it may be an answer.
pub(super) fn is_no_answer(text: &str) -> bool {
    let key = key_of(text);
    key != "none" && (LIKE_MISSING.contains(&key.as_str()) || text.parse::<f64>().is_ok_and(f64::is_nan))
}

/// What spellings of one value have in common.
pub(super) fn key_of(text: &str) -> String {
    name_key(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a value is a diagnosis.
pub(super) fn is_like_diagnosis(text: &str) -> bool {
    let key = key_of(&text.replace('_', " "));
    DIAGNOSES.contains(&key.as_str()) || PARTS_OF_DIAGNOSES.iter().any(|part| key.contains(part))
}

/// The instrument that a name or value speaks of.
pub(super) fn modality_of(text: &str) -> Option<Modality> {
    let text = name_key(text).replace("dermatolog", "");
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let dermoscopic = has(&["derm", "scop", "polari"]);
    let clinical = has(&["clin", "close", "macro", "overview", "photo", "phone", "camera", "foto", "naked"]);
    match (clinical, dermoscopic) {
        (true, false) => Some(Modality::Clinical),
        (false, true) => Some(Modality::Dermoscopic),
        (true, true) if has(&["dermosc", "dermatosc"]) => Some(Modality::Dermoscopic),
        _ => None,
    }
}

/// Whether a text is a day or a time.
pub(super) fn is_like_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split(['-', '/', '.', 'T', ' ', ':']).filter(|part| !part.is_empty()).collect();
    let is_digits = |part: &&str| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.len() >= 3 && parts[..3].iter().all(is_digits) && parts[..3].iter().any(|part| part.len() >= 2)
}

/// Yes or no, as far as a text says one of them.
pub(super) fn answer(text: &str) -> Option<bool> {
    match key_of(text).as_str() {
        "yes" | "y" | "true" | "t" | "1" | "1.0" | "ja" | "j" | "oui" | "si" | "sí" | "sim" => Some(true),
        "no" | "n" | "false" | "f" | "0" | "0.0" | "nein" | "non" | "não" | "nao" => Some(false),
        _ => None,
    }
}

/// Whether two words of letters differ in one letter.
pub(super) fn nearly_same(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (key_of(one).chars().collect(), key_of(other).chars().collect());
    let letters = |word: &[char]| word.len() >= 5 && word.iter().all(|letter| letter.is_alphabetic() || *letter == ' ');
    if one == other || !letters(&one) || !letters(&other) {
        return false;
    }
    let (short, long) = if one.len() <= other.len() { (&one, &other) } else { (&other, &one) };
    let start = short.iter().zip(long).take_while(|(one, other)| one == other).count();
    match long.len() - short.len() {
        0 => short[start + 1..] == long[start + 1..],
        1 => short[start..] == long[start + 1..],
        _ => false,
    }
}

/// Some values in quotes, for a sentence.
pub(super) fn quoted<S: AsRef<str>>(values: &[S]) -> String {
    const MOST: usize = 4;
    let mut words: Vec<String> =
        values.iter().take(MOST).map(|value| format!("`{}`", value.as_ref().escape_debug())).collect();
    if values.len() > MOST {
        words.push(format!("{} more", values.len() - MOST));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        assert_eq!(tokens("lesionId"), ["lesion", "id"]);
        assert_eq!(tokens("Patient No. (new)"), ["patient", "no", "new"]);
        assert_eq!(tokens("  "), Vec::<String>::new());
        for name in ["lesion_id", "caseID", "Fallnummer", "img no", "pid"] {
            assert!(is_like_id(name), "{name}");
        }
        for name in ["age", "diameter_1", "no_of_moles_seen"] {
            assert!(!is_like_id(name), "{name}");
        }
    }

    #[test]
    fn words_tell_the_instrument() {
        let of = |text| modality_of(text).map(|modality| format!("{modality:?}"));
        for text in ["clinical: close-up", "Foto", "macro", "dermatology photo"] {
            assert_eq!(of(text).as_deref(), Some("Clinical"), "{text}");
        }
        for text in ["dermoscopic", "derm", "clinical dermoscopy", "Dermatoskopie"] {
            assert_eq!(
                of(text).as_deref(),
                if text == "Dermatoskopie" { of("derm") } else { Some("Dermoscopic".into()) }.as_deref(),
                "{text}"
            );
        }
        for text in ["image", "left arm", "clinical derm"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn what_says_nothing_and_what_is_a_date() {
        for text in ["NA", "n/a", "NaN", "unknown", "-", "Not  recorded"] {
            assert!(is_no_answer(text), "{text}");
        }
        assert!(!is_no_answer("none") && !is_no_answer("no"));
        assert!(
            is_like_date("2021-03-04")
                && is_like_date("4.3.2021 12:00")
                && !is_like_date("2021")
                && !is_like_date("1.5")
        );
        assert!(!is_like_date("1-2"));
    }

    #[test]
    fn misspellings_are_one_letter_apart() {
        assert!(nearly_same("BRAZIL", "BRASIL") && nearly_same("chest", "chests") && nearly_same("chests", "chest"));
        assert!(!nearly_same("back", "neck") && !nearly_same("type 1", "type 2") && !nearly_same("Chest", "chest"));
    }
}
