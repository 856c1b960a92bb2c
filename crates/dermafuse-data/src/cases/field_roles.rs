use std::collections::BTreeMap;

use dermafuse_schema::FieldRole;

use crate::{CaseSet, DataError};

impl CaseSet {
    /// The same cases with other roles of some fields, by name: what is an input, and what never is one. A note says which were changed.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use dermafuse_data::{CaseSet, MetadataEncoder, MetadataRoles};
    /// use dermafuse_schema::{Field, FieldRole, Task, TaskSet};
    ///
    /// let tasks = TaskSet::new(vec![Task::new("diagnosis", "diagnosis", ["naevus", "melanoma"])])?;
    /// let fields = ["age", "itches"].map(|name| Field::numeric(name, FieldRole::PreDiagnosis)).into();
    /// let (name, cases) = ("mine".to_owned(), vec![]);
    /// let set = CaseSet { name, synthetic: false, tasks, fields, cases, split: None, notes: vec![] };
    ///
    /// // Somebody asked because the lesion looked bad.
    /// let set = set.with_roles(&BTreeMap::from([("itches".to_owned(), FieldRole::PostDiagnosis)]))?;
    /// assert_eq!(set.notes, ["The role of field `itches` is post_diagnosis, as was asked for, in place of pre_diagnosis."]);
    /// assert_eq!(MetadataEncoder::fit(&set.fields, &set.cases, MetadataRoles::PreDiagnosis)?.width(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A field that the set does not have. The roles [`ModelOutput`](FieldRole::ModelOutput) and
    /// [`OtherLesions`](FieldRole::OtherLesions): these fields are made, and no other becomes one.
    pub fn with_roles(mut self, roles: &BTreeMap<String, FieldRole>) -> Result<Self, DataError> {
        let is_made = |role| matches!(role, FieldRole::ModelOutput | FieldRole::OtherLesions);
        for (name, &role) in roles {
            let Some(place) = self.fields.iter().position(|field| field.name == *name) else {
                let reason = match &self.fields[..] {
                    [] => "it has no fields".to_owned(),
                    fields => {
                        let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                        format!("it has no such field; its fields are {}", known.join(", "))
                    }
                };
                return Err(DataError::FieldRole { set: self.name, field: name.clone(), reason });
            };
            let field = &mut self.fields[place];
            if let Some(made) = [role, field.role].into_iter().find(|role| is_made(*role)) {
                let reason = format!(
                    "fields of role {made} are made of others; no other field becomes one, and they stay what they are"
                );
                return Err(DataError::FieldRole { set: self.name, field: name.clone(), reason });
            }
            if role != field.role {
                let leaks = match field.role {
                    FieldRole::PostDiagnosis => {
                        " If it is known because somebody judged the lesion, numbers with it promise too much."
                    }
                    _ => "",
                };
                self.notes.push(format!(
                    "The role of field `{name}` is {role}, as was asked for, in place of {}.{leaks}",
                    field.role
                ));
                field.role = role;
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use dermafuse_schema::{Field, Task, TaskSet};

    use super::*;

    fn set() -> CaseSet {
        let tasks = TaskSet::new(vec![Task::new("diagnosis", "diagnosis", ["naevus", "melanoma"])]).unwrap();
        let fields = vec![
            Field::numeric("age", FieldRole::PreDiagnosis),
            Field::numeric("biopsied", FieldRole::PostDiagnosis),
            Field::numeric("panderm.melanoma", FieldRole::ModelOutput),
        ];
        CaseSet { name: "mine".into(), synthetic: false, tasks, fields, cases: vec![], split: None, notes: vec![] }
    }

    fn asked(field: &str, role: FieldRole) -> Result<CaseSet, String> {
        set().with_roles(&BTreeMap::from([(field.to_owned(), role)])).map_err(|error| error.to_string())
    }

    #[test]
    fn a_field_takes_the_role_and_a_note_warns_of_what_may_leak() {
        let changed = asked("biopsied", FieldRole::PreDiagnosis).unwrap();
        assert_eq!(changed.fields[1].role, FieldRole::PreDiagnosis);
        assert!(changed.notes[0].ends_with("numbers with it promise too much."), "{:?}", changed.notes);
        let left_out = asked("age", FieldRole::Provenance).unwrap();
        assert_eq!(
            left_out.notes,
            ["The role of field `age` is provenance, as was asked for, in place of pre_diagnosis."]
        );
        assert_eq!(asked("age", FieldRole::PreDiagnosis).unwrap().notes, [""; 0]);
    }

    #[test]
    fn roles_are_called_as_in_files() {
        for (word, role) in [
            ("pre_diagnosis", FieldRole::PreDiagnosis),
            ("post_diagnosis", FieldRole::PostDiagnosis),
            ("image_derived", FieldRole::ImageDerived),
            ("provenance", FieldRole::Provenance),
            ("model_output", FieldRole::ModelOutput),
            ("other_lesions", FieldRole::OtherLesions),
        ] {
            assert_eq!((role.to_string(), serde_json::to_value(role).unwrap()), (word.to_owned(), word.into()));
        }
    }

    #[test]
    fn unknown_fields_and_made_ones_are_refused() {
        assert_eq!(
            asked("agee", FieldRole::Provenance).unwrap_err(),
            "the role of field `agee` of `mine` cannot be changed: it has no such field; its fields are age, biopsied, panderm.melanoma"
        );
        let made = "fields of role model_output are made of others";
        for (field, role) in [("panderm.melanoma", FieldRole::PreDiagnosis), ("age", FieldRole::ModelOutput)] {
            let error = asked(field, role).unwrap_err();
            assert!(error.contains(made), "{error}");
        }
    }
}
