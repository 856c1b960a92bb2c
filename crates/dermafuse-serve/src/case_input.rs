use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dermafuse_schema::{LesionBox, Modality, SchemaError};
use multer::Multipart;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::ApiError;

/// What the names of the fields of the model begin with.
const FIELDS: &str = "fields.";
/// The most parts of a request.
const MOST_PARTS: usize = 256;
/// The numbers of a lesion box.
const MOST_LISTED: usize = 4;
/// The longest name or value of a field, in bytes.
const MOST_TEXT: usize = 1000;

/// One case as a client sends it: an image of each kind, and values of the model's fields as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaseInput {
    /// The clinical photo, as the bytes of its file.
    pub clinical: Option<Bytes>,
    /// The dermoscopic image, as the bytes of its file.
    pub dermoscopic: Option<Bytes>,
    /// Where the lesion is in the clinical photo.
    pub clinical_box: Option<LesionBox>,
    /// Where the lesion is in the dermoscopic image.
    pub dermoscopic_box: Option<LesionBox>,
    /// Names of the model's fields with their values. None is there twice, and none is empty.
    pub fields: Vec<(String, String)>,
    /// The task that is explained.
    pub task: Option<String>,
}

/// A part of a request before it is known what it is.
enum Part {
    Bytes(Bytes),
    Json(Value),
}

impl CaseInput {
    /// The image of a kind.
    #[must_use]
    pub fn image(&self, modality: Modality) -> Option<&Bytes> {
        match modality {
            Modality::Clinical => self.clinical.as_ref(),
            Modality::Dermoscopic => self.dermoscopic.as_ref(),
        }
    }

    /// Where the lesion is in the image of a kind, if that is said.
    #[must_use]
    pub fn lesion_box(&self, modality: Modality) -> Option<LesionBox> {
        match modality {
            Modality::Clinical => self.clinical_box,
            Modality::Dermoscopic => self.dermoscopic_box,
        }
    }

    /// Reads a body of one of the two kinds. The names of files, should the client send them, are not looked at.
    ///
    /// # Errors
    /// Another kind of body, one that is damaged, a part that is unknown, twice, or not what it should be; no part at all.
    pub(crate) async fn read(headers: &HeaderMap, body: Bytes) -> Result<Self, ApiError> {
        let said = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let parts = match kind.as_str() {
            "multipart/form-data" => of_multipart(said, body).await?,
            "application/json" => of_json(&body)?,
            _ => {
                let message = "send multipart/form-data or application/json, and say so in Content-Type";
                return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", message));
            }
        };
        Self::of_parts(parts)
    }

    fn of_parts(parts: Vec<(String, Part)>) -> Result<Self, ApiError> {
        let mut input = Self::default();
        let mut names: Vec<String> = Vec::new();
        for (name, part) in parts {
            if names.contains(&name) {
                return Err(ApiError::input("given_twice", &name, format!("`{name}` is given twice; give it once")));
            }
            match name.as_str() {
                "clinical" => input.clinical = image_of(&name, part)?,
                "dermoscopic" => input.dermoscopic = image_of(&name, part)?,
                "clinical_box" => input.clinical_box = box_of(&name, part)?,
                "dermoscopic_box" => input.dermoscopic_box = box_of(&name, part)?,
                "task" => input.task = text_of(&name, part)?,
                _ => match name.strip_prefix(FIELDS) {
                    Some(field) => {
                        if let Some(value) = text_of(&name, part)? {
                            input.fields.push((field.to_owned(), value));
                        }
                    }
                    None => {
                        let known = "there are clinical, clinical_box, dermoscopic, dermoscopic_box, task, and the fields of the model as \
                                     fields.NAME";
                        return Err(ApiError::input(
                            "unknown_part",
                            &name,
                            format!("there is no part `{name}`; {known}"),
                        ));
                    }
                },
            }
            names.push(name);
        }
        if let Some(image) =
            Modality::BOTH.into_iter().find(|&image| input.lesion_box(image).is_some() && input.image(image).is_none())
        {
            let (name, message) = (
                format!("{image}_box"),
                format!("`{image}_box` says where the lesion is in `{image}`, which is not there"),
            );
            return Err(ApiError::input("lesion_box", name, message));
        }
        if input.clinical.is_none() && input.dermoscopic.is_none() && input.fields.is_empty() {
            return Err(ApiError::case("empty_case", "the request has no image and no value of a field"));
        }
        Ok(input)
    }
}

/// A body as it is sent by forms.
async fn of_multipart(kind: &str, body: Bytes) -> Result<Vec<(String, Part)>, ApiError> {
    let malformed = |error: multer::Error| ApiError::malformed(format!("the multipart body is damaged: {error}"));
    let boundary = multer::parse_boundary(kind).map_err(malformed)?;
    let mut multipart = Multipart::new(Body::from(body).into_data_stream(), boundary);
    let mut parts = Vec::new();
    while let Some(part) = multipart.next_field().await.map_err(malformed)? {
        let name = part.name().ok_or_else(|| ApiError::malformed("a part of the body has no name"))?;
        let name = named(name)?;
        if parts.len() == MOST_PARTS {
            return Err(ApiError::malformed(format!("the body has more than {MOST_PARTS} parts")));
        }
        parts.push((name, Part::Bytes(part.bytes().await.map_err(malformed)?)));
    }
    Ok(parts)
}

/// A body as programs send it.
fn of_json(body: &[u8]) -> Result<Vec<(String, Part)>, ApiError> {
    let Members(members) = serde_json::from_slice(body).map_err(|error| {
        // Of what was sent, the position alone is told.
        let place = format!("line {}, column {}", error.line(), error.column());
        ApiError::malformed(match error.classify() {
            serde_json::error::Category::Data => format!("the body is no JSON object: {place}"),
            _ => format!("the body is no JSON: {place}"),
        })
    })?;
    let mut parts = Vec::new();
    for (name, member) in members {
        let name = named(&name)?;
        match (name.as_str(), member) {
            ("fields", Member::Members(fields)) => {
                for (field, value) in fields {
                    parts.push((named(&format!("{FIELDS}{field}"))?, Part::Json(value)));
                }
            }
            ("fields", _) => {
                let message = "`fields` is no object with names and values";
                return Err(ApiError::input("wrong_kind", name, message));
            }
            (_, Member::Value(value)) => parts.push((name, Part::Json(value))),
            (_, Member::Members(_)) => {
                let message = format!("`{name}` is an object; only `fields` is");
                return Err(ApiError::input("wrong_kind", name, message));
            }
        }
        if parts.len() > MOST_PARTS {
            return Err(ApiError::malformed(format!("the body has more than {MOST_PARTS} members")));
        }
    }
    Ok(parts)
}

fn named(name: &str) -> Result<String, ApiError> {
    match name.len() <= MOST_TEXT {
        true => Ok(name.to_owned()),
        false => Err(ApiError::malformed(format!("a name has more than {MOST_TEXT} bytes"))),
    }
}

/// The bytes of an image; none where a form has a place for it that was left empty.
fn image_of(name: &str, part: Part) -> Result<Option<Bytes>, ApiError> {
    let bytes = match part {
        Part::Bytes(bytes) => bytes,
        Part::Json(Value::Null) => return Ok(None),
        Part::Json(Value::String(text)) => {
            // As browsers give it, with its kind in front.
            let encoded = match text.strip_prefix("data:").and_then(|data| data.split_once(";base64,")) {
                Some((_, encoded)) => encoded,
                None => text.as_str(),
            };
            STANDARD.decode(encoded).map(Bytes::from).map_err(|error| {
                let message =
                    format!("`{name}` is not base64 ({error}); send the bytes of the image file, never its path");
                ApiError::input("not_base64", name, message)
            })?
        }
        Part::Json(_) => {
            let message = format!("`{name}` is no text; send the bytes of the image file as base64");
            return Err(ApiError::input("wrong_kind", name, message));
        }
    };
    Ok((!bytes.is_empty()).then_some(bytes))
}

/// A lesion box: text `x,y,width,height`, or a list of the four numbers; none where nothing is said.
fn box_of(name: &str, part: Part) -> Result<Option<LesionBox>, ApiError> {
    let found = match part {
        Part::Json(Value::Array(numbers)) => {
            let all: Option<Vec<f64>> = numbers.iter().map(Value::as_f64).collect();
            let four: Option<[f64; 4]> = all.and_then(|all| all.try_into().ok());
            let reason = "four numbers x, y, width and height in pixels are expected";
            four.ok_or(reason).and_then(|four| LesionBox::checked(four).map_err(|(_, reason)| reason))
        }
        part => match text_of(name, part)? {
            None => return Ok(None),
            Some(text) => text.parse().map_err(|error| match error {
                SchemaError::LesionBox { reason, .. } => reason,
                _ => "x,y,width,height in pixels are expected",
            }),
        },
    };
    // What was sent is not said again.
    let message = |reason| format!("`{name}` is no lesion box: {reason}");
    found.map(Some).map_err(|reason| ApiError::input("lesion_box", name, message(reason)))
}

/// A value as text; none where nothing is recorded.
fn text_of(name: &str, part: Part) -> Result<Option<String>, ApiError> {
    let wrong = |message| ApiError::input("wrong_kind", name, message);
    let text = match part {
        Part::Bytes(bytes) => {
            String::from_utf8(bytes.to_vec()).map_err(|_| wrong(format!("`{name}` is no text in UTF-8")))?
        }
        Part::Json(Value::String(text)) => text,
        Part::Json(Value::Number(number)) => number.to_string(),
        Part::Json(Value::Null) => return Ok(None),
        Part::Json(_) => return Err(wrong(format!("`{name}` is no text and no number"))),
    };
    if text.len() > MOST_TEXT {
        return Err(ApiError::input("too_long", name, format!("`{name}` has more than {MOST_TEXT} bytes")));
    }
    Ok((!text.is_empty()).then_some(text))
}

/// The members of a JSON object in order, those that come twice included, which `serde_json::Value` would lose.
struct Members(Vec<(String, Member)>);

enum Member {
    Value(Value),
    Members(Vec<(String, Value)>),
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(deserializer.deserialize_map(Pairs(std::marker::PhantomData))?))
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MemberVisitor)
    }
}

struct Pairs<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
    type Value = Vec<(String, T)>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}

struct MemberVisitor;

impl<'de> Visitor<'de> for MemberVisitor {
    type Value = Member;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a text, a number, null, or an object of these")
    }

    fn visit_str<E>(self, text: &str) -> Result<Member, E> {
        Ok(Member::Value(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Member, E> {
        Ok(Member::Value(text.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Member, E> {
        Ok(Member::Value(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Member, E> {
        Ok(Member::Value(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Member, E> {
        Ok(Member::Value(number.into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Member, E> {
        Ok(Member::Value(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Member, E> {
        Ok(Member::Value(Value::Null))
    }

    // Told apart later, by the name of the member. No list of more than four values is of use.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Member, A::Error> {
        let mut values = Vec::new();
        while values.len() <= MOST_LISTED {
            match list.next_element()? {
                Some(value) => values.push(value),
                None => return Ok(Member::Value(Value::Array(values))),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Member::Value(Value::Array(values)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
        Ok(Member::Members(Pairs(std::marker::PhantomData).visit_map(map)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn json(body: &str) -> Result<CaseInput, ApiError> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().unwrap())]);
        CaseInput::read(&headers, Bytes::copy_from_slice(body.as_bytes())).await
    }

    async fn form(parts: &[(&str, &str)]) -> Result<CaseInput, ApiError> {
        let kind = "multipart/form-data; boundary=X".parse().unwrap();
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
        let mut body = String::new();
        for (name, value) in parts {
            body += &format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        CaseInput::read(&headers, Bytes::from(body + "--X--\r\n")).await
    }

    #[tokio::test]
    async fn both_kinds_of_bodies_say_the_same() {
        let expected = CaseInput {
            clinical: Some(Bytes::from_static(b"abc")),
            clinical_box: Some(LesionBox::new(10, 20, 30, 40).unwrap()),
            fields: vec![("sex".into(), "female".into()), ("age".into(), "61.5".into())],
            task: Some("veil".into()),
            ..CaseInput::default()
        };
        let body = r#"{"clinical": "YWJj", "clinical_box": [10, 20.2, 30, 40], "dermoscopic": null, "dermoscopic_box": null, "task": "veil",
                       "fields": {"sex": "female", "age": 61.5, "site": "", "size": null}}"#;
        assert_eq!(json(body).await.unwrap(), expected);
        let url = json(r#"{"clinical": "data:image/jpeg;base64,YWJj"}"#).await.unwrap();
        assert_eq!(url.image(Modality::Clinical), expected.clinical.as_ref());
        let parts = [
            ("clinical", "abc"),
            ("clinical_box", "10,20,30,40"),
            ("dermoscopic", ""),
            ("dermoscopic_box", ""),
            ("fields.sex", "female"),
            ("fields.age", "61.5"),
            ("task", "veil"),
        ];
        assert_eq!(form(&parts).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (body, code, field) in [
            ("", "malformed", None),
            ("[1]", "malformed", None),
            (r#"{"clinical": "YWJj""#, "malformed", None),
            (r#"{"clinical": ["YWJj"]}"#, "wrong_kind", Some("clinical")),
            (r#"{"fields": {"a": {"b": {}}}}"#, "wrong_kind", Some("fields.a")),
            ("{}", "empty_case", None),
            (r#"{"fields": {}}"#, "empty_case", None),
            (r#"{"fields": "a"}"#, "wrong_kind", Some("fields")),
            (r#"{"clinical": {}}"#, "wrong_kind", Some("clinical")),
            (r#"{"clinical": 7}"#, "wrong_kind", Some("clinical")),
            (r#"{"clinical": "/etc/passwd"}"#, "not_base64", Some("clinical")),
            (r#"{"clinical": "file:///etc/passwd"}"#, "not_base64", Some("clinical")),
            (r#"{"clinical": "YWJj", "clinical": "YWJj"}"#, "given_twice", Some("clinical")),
            (r#"{"fields": {"age": 1, "age": 2}}"#, "given_twice", Some("fields.age")),
            (r#"{"fields": {"age": 1}, "fields": {"age": 2}}"#, "given_twice", Some("fields.age")),
            (r#"{"fields": {"age": true}}"#, "wrong_kind", Some("fields.age")),
            (r#"{"path": "a.jpg"}"#, "unknown_part", Some("path")),
            (r#"{"clinical": "YWJj", "clinical_box": [1, 2, 3]}"#, "lesion_box", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "clinical_box": [1, 2, 3, 4, 5]}"#, "lesion_box", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "clinical_box": [1, 2, 0, 4]}"#, "lesion_box", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "clinical_box": [-1, 2, 3, 4]}"#, "lesion_box", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "clinical_box": [1, 2, "3", 4]}"#, "lesion_box", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "clinical_box": [[[1]]]}"#, "lesion_box", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "clinical_box": {}}"#, "wrong_kind", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "clinical_box": true}"#, "wrong_kind", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "clinical_box": "1,2,3"}"#, "lesion_box", Some("clinical_box")),
            (r#"{"clinical": "YWJj", "dermoscopic_box": [1, 2, 3, 4]}"#, "lesion_box", Some("dermoscopic_box")),
            (r#"{"clinical_box": [1, 2, 3, 4]}"#, "lesion_box", Some("clinical_box")),
        ] {
            let error = json(body).await.unwrap_err();
            assert_eq!((error.code(), error.field()), (code, field), "{body}: {error}");
        }
        let long = "x".repeat(2000);
        assert_eq!(json(&format!(r#"{{"fields": {{"age": "{long}"}}}}"#)).await.unwrap_err().code(), "too_long");
        assert_eq!(json(&format!(r#"{{"{long}": 1}}"#)).await.unwrap_err().code(), "malformed");
        assert_eq!(json(&"[".repeat(100_000)).await.unwrap_err().code(), "malformed");
        let many: Vec<String> = (0..300).map(|at| format!("\"f{at}\": 1")).collect();
        assert_eq!(json(&format!(r#"{{"fields": {{{}}}}}"#, many.join(","))).await.unwrap_err().code(), "malformed");

        let error = form(&[("fields.sex", "male"), ("fields.sex", "female")]).await.unwrap_err();
        assert_eq!((error.code(), error.field(), error.status()), ("given_twice", Some("fields.sex"), 422));
        assert_eq!(
            form(&[("sex", "male")]).await.unwrap_err().to_string(),
            "there is no part `sex`; there are clinical, clinical_box, dermoscopic, dermoscopic_box, task, and the fields of the \
             model as fields.NAME"
        );
        assert_eq!(form(&[]).await.unwrap_err().code(), "empty_case");
        for (kind, status) in [("text/plain", 415), ("", 415), ("multipart/form-data", 400)] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(CaseInput::read(&headers, Bytes::new()).await.unwrap_err().status(), status, "{kind}");
        }
        let cut = HeaderMap::from_iter([(header::CONTENT_TYPE, "multipart/form-data; boundary=X".parse().unwrap())]);
        let body = "--X\r\nContent-Disposition: form-data; name=\"clinical\"\r\n\r\nabc";
        assert_eq!(CaseInput::read(&cut, Bytes::from(body)).await.unwrap_err().code(), "malformed");
    }
}
