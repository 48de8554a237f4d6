//! The document says what the API does, and the API does what the document says.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use registry_harbor::{OPENAPI, Operation, operations};
use serde_json::{Value, json};

use super::house::{House, NOBODY, Reply};

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(OPENAPI).unwrap());

/// What the document says of an operation.
fn described(operation: Operation) -> &'static Value {
    let described = &DOCUMENT["paths"][operation.path][operation.method.to_lowercase()];
    assert!(described.is_object(), "{operation:?} is not in the document");
    described
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        Some(place) => {
            let found = DOCUMENT.pointer(place.strip_prefix('#').unwrap());
            found.unwrap_or_else(|| panic!("{place} is not in the document"))
        }
        None => value,
    }
}

/// Panics if the document knows nothing of such a reply to this operation.
pub(crate) fn check(operation: Option<Operation>, reply: &Reply) {
    assert!(!reply.header("x-request-id").is_empty());
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    let Some(operation) = operation else {
        assert!(reply.status >= 400, "{reply:?}");
        return check_body(
            "#/components/schemas/Errors",
            &json!({"$ref": "#/components/schemas/Errors"}),
            reply,
        );
    };
    let answer = &described(operation)["responses"][reply.status.to_string()];
    assert!(
        !answer.is_null(),
        "{operation:?} is not said to answer {}: {}",
        reply.status,
        reply.text
    );
    let answer = resolved(answer);
    if let Some(headers) = answer["headers"].as_object() {
        let always = headers.keys().filter(|name| *name != "Link");
        always.for_each(|name| assert!(!reply.header(name).is_empty(), "{operation:?} has no {name}"));
    }
    let Some(content) = answer["content"].as_object() else {
        return assert_eq!(reply.text, "", "{operation:?} is said to answer nothing");
    };
    if operation.method == "HEAD" {
        return assert_eq!(reply.text, "");
    }
    let essence = reply.header("content-type").split(';').next().unwrap();
    let schema = &content[essence]["schema"];
    match essence {
        "application/json" => check_body(&format!("{} {}", operation.id, reply.status), schema, reply),
        _ => assert_eq!(schema["const"], reply.text),
    }
}

fn check_body(name: &str, schema: &Value, reply: &Reply) {
    static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let known = VALIDATORS.lock().unwrap().get(name).cloned();
    let validator = known.unwrap_or_else(|| {
        let mut schema = schema.clone();
        schema["components"] = DOCUMENT["components"].clone();
        let built = jsonschema::options().should_validate_formats(true).build(&schema);
        let built = Arc::new(built.unwrap());
        VALIDATORS
            .lock()
            .unwrap()
            .insert(name.to_owned(), Arc::clone(&built));
        built
    });
    let body = reply.json();
    let errors: Vec<String> = validator
        .iter_errors(&body)
        .map(|why| format!("{why} at {}", why.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?} in {}", reply.text);
}

#[test]
fn the_document_has_every_operation_and_no_other() {
    let ours: BTreeSet<_> = operations()
        .iter()
        .map(|operation| {
            (
                operation.path.to_owned(),
                operation.method.to_owned(),
                operation.id.to_owned(),
            )
        })
        .collect();
    let mut theirs = BTreeSet::new();
    for (path, methods) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            theirs.insert((path.clone(), method.to_uppercase(), id));
        }
    }
    assert_eq!(ours, theirs);
    assert!(ours.len() > 40);
}

#[test]
fn what_varies_in_a_path_is_described() {
    for operation in operations() {
        let parameters = described(*operation)["parameters"].as_array().unwrap();
        let in_path = parameters
            .iter()
            .map(resolved)
            .filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<&str> = in_path
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let braces = operation
            .path
            .split('{')
            .skip(1)
            .map(|rest| rest.split('}').next().unwrap());
        assert_eq!(described, braces.collect(), "{operation:?}");
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere_and_every_part_is_referred_to() {
    fn collect(value: &'static Value, places: &mut BTreeSet<&'static str>) {
        match value {
            Value::Object(fields) => {
                places.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| collect(value, places));
            }
            Value::Array(entries) => entries.iter().for_each(|value| collect(value, places)),
            _ => {}
        }
    }
    let mut places = BTreeSet::new();
    collect(&DOCUMENT, &mut places);
    for place in &places {
        assert!(DOCUMENT.pointer(&place[1..]).is_some(), "{place}");
    }
    for kind in ["parameters", "responses", "schemas"] {
        for name in DOCUMENT["components"][kind].as_object().unwrap().keys() {
            assert!(
                places.contains(format!("#/components/{kind}/{name}").as_str()),
                "{kind} {name}"
            );
        }
    }
}

#[test]
fn what_is_not_harbors_is_marked_as_such() {
    let marked = |operation: &&Operation| described(**operation)["x-berth"] == true;
    let marked: BTreeSet<&str> = operations()
        .iter()
        .filter(marked)
        .map(|operation| operation.path)
        .collect();
    let expected = [
        "/openapi.json",
        "/users/{user_id}/tokens",
        "/users/{user_id}/tokens/{token_id}",
    ];
    assert_eq!(marked, expected.into());
    for schema in ["ProjectMember", "ProjectMemberEntity", "RoleRequest"] {
        let pattern = &DOCUMENT["components"]["schemas"][schema]["properties"]["pattern"];
        assert_eq!(pattern["x-berth"], true, "{schema}");
    }
}

#[test]
fn what_is_said_to_take_an_account_takes_one_and_nothing_else_does() {
    let house = House::new();
    house.project("open", true);
    for operation in operations() {
        let security = described(*operation)["security"].as_array().unwrap();
        let is_open = security.iter().any(|one| one.as_object().unwrap().is_empty());
        let path = operation.path.replace("{project_name_or_id}", "open");
        let parts = path
            .split('/')
            .map(|part| if part.starts_with('{') { "1" } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        let reply = house.send(house.request(NOBODY, operation.method, &path, None));
        assert_eq!(reply.status != 401, is_open, "{operation:?}: {reply:?}");
        assert!(!is_open || reply.status == 200, "{operation:?}: {reply:?}");
    }
}

#[test]
fn the_document_is_served() {
    let house = House::new();
    assert_eq!(house.get(NOBODY, "/openapi.json").is(200).json(), *DOCUMENT);
}
