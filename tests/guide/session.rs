use std::{
    env,
    error::Error,
    time::{Duration, SystemTime},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderName, StatusCode, header::SET_COOKIE, request::Parts},
    response::{AppendHeaders, Html},
    routing::{get, post},
};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::{Deserialize, Serialize};
use tower_sse::{Event, Jwt, JwtKeys, Publisher, RouteError, SseLayer, jwt};

/// What a token says. The authorizer reads `exp`, `client` and `channels`.
#[derive(Serialize, Deserialize)]
struct Claims {
    /// When the token ends, in seconds since 1970.
    exp: u64,
    client: String,
    channels: Vec<String>,
    /// When the user has to log in again.
    login_until: u64,
}

#[derive(Clone)]
pub struct Sessions {
    tokens: Jwt,
    key: EncodingKey,
}

#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
}

type Cookie = AppendHeaders<[(HeaderName, String); 1]>;

impl Sessions {
    pub fn new(secret: &str) -> Result<Self, Box<dyn Error>> {
        let tokens = jwt(JwtKeys::secret(secret)?).cookie("__Host-session");
        Ok(Self { tokens, key: EncodingKey::from_secret(secret.as_bytes())? })
    }

    /// Returns a token for five minutes, in a cookie that no script can read and that other sites can't use.
    fn cookie(&self, mut claims: Claims) -> Result<Cookie, StatusCode> {
        claims.exp = claims.login_until.min(now() + 300);
        let token = encode(&Header::default(), &claims, &self.key).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        let cookie = format!("__Host-session={token}; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=300");
        Ok(AppendHeaders([(SET_COOKIE, cookie)]))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

async fn login(State(sessions): State<Sessions>, Json(login): Json<Login>) -> Result<Cookie, StatusCode> {
    // Ask your database here.
    if (&*login.user, &*login.password) != ("ana", "correct horse") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let channels = vec!["team".to_owned(), format!("inbox/{}", login.user)];
    sessions.cookie(Claims { exp: 0, client: login.user, channels, login_until: now() + 12 * 3600 })
}

/// Replaces a token that is still valid with a new one. Ask your database here, too: if the user may read less by now, the
/// new token gets fewer channels.
async fn renew(State(sessions): State<Sessions>, request: Parts) -> Result<Cookie, StatusCode> {
    let claims = sessions.tokens.verify(&request).await.ok().flatten().ok_or(StatusCode::UNAUTHORIZED)?;
    sessions.cookie(claims)
}

pub fn app(publisher: Publisher, sessions: Sessions) -> Result<Router, RouteError> {
    let streams = SseLayer::new(publisher).route("/events/{channel}")?.authorizer(sessions.tokens.clone());
    Ok(Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/login", post(login))
        .route("/renew", post(renew))
        .layer(streams)
        .with_state(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let publisher = Publisher::new();
    let app = app(publisher.clone(), Sessions::new(&env::var("SECRET")?)?)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    tokio::spawn(async { axum::serve(listener, app).await });
    loop {
        publisher.channel("team").send(Event::text("hello")).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

const PAGE: &str = r#"<!doctype html>
<script type="module">
    const login = () => fetch("/login", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ user: "ana", password: "correct horse" }),
    });
    await login();
    // Well before the five minutes are over. Timers of pages in the background may be a minute late.
    setInterval(() => fetch("/renew", { method: "POST" }), 2 * 60 * 1000);
    const source = new EventSource("/events/team");
    source.onmessage = (event) => document.body.append(event.data, " ");
</script>
"#;
