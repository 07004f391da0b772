#include "http_server.h"

#include "access.h"
#include "assets.h"
#include "ddpm/base/error.h"
#include "ddpm/base/text.h"
#include "ddpm/io/file.h"
#include "ddpm/io/json_text.h"
#include "ddpm/report/report.h"
#include "http_answers.h"
#include "request.h"

#include <chrono>
#include <functional>
#include <string_view>
#include <utility>

#include <ddpm_httplib.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

namespace ddpm::serve {
namespace {

using Json = nlohmann::ordered_json;
using Request = httplib::Request;
using Response = httplib::Response;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxBody = size_t{64} << 10;     // bytes; a request is a few hundred
constexpr size_t kMaxPictures = size_t{8} << 20;  // of a body with pictures
constexpr int64_t kMaxStreams = 64;
constexpr size_t kThreads = 96;  // the streams, and enough for the rest
constexpr int kBacklog = 128;    // connections that wait to be accepted
constexpr auto kHeartbeat = std::chrono::seconds(10);
constexpr auto kLook = std::chrono::milliseconds(500);  // at most until a stop is noticed

constexpr const char* kPageMust =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "
    "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// Only this program's own use of the port: the library's usual SO_REUSEPORT would let another one
// listen beside it.
void set_options_of(socket_t socket) {
  const int yes = 1;
  setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
}

}  // namespace

// The handlers, by route.
struct Routes {
  HttpServer& own;
  std::string cookie_name;

  httplib::Server& http() { return *own.server_; }

  // An event stream. `next` waits a little for news, and returns the text to send, if any; it sets
  // `last` with the last one.
  void stream(Response& res, std::function<std::string(bool& last)> next) {
    if (++own.streams_ > kMaxStreams) {
      --own.streams_;
      throw Refused(503, fmt::format("there are {} event streams already; ask for the job itself",
                                     kMaxStreams));
    }
    auto sent = std::make_shared<Clock::time_point>(Clock::now());
    const auto provide = [this, next = std::move(next), sent](size_t, httplib::DataSink& sink) {
      bool last = false;
      std::string text = next(last);
      if (text.empty() && Clock::now() - *sent >= kHeartbeat) text = ": still here\n\n";
      if (!text.empty()) {
        *sent = Clock::now();
        if (!sink.write(text.data(), text.size())) return false;
      }
      if (last || own.stopping_) sink.done();
      return true;
    };
    res.set_chunked_content_provider("text/event-stream", provide,
                                     [this](bool) { --own.streams_; });
  }

  bool is_authorized(const Request& req) const {
    const std::string& token = own.options_.token;
    return token.empty() ||
           equal_secrets(bearer_token(req.get_header_value("Authorization")), token) ||
           equal_secrets(cookie(req.get_header_value("Cookie"), cookie_name), token);
  }

  // Before every route. Throws Refused.
  void check_access(const Request& req) const {
    const std::string host = req.get_header_value("Host");
    if (req.get_header_value_count("Host") != 1 || !is_allowed_host(host, own.options_.host))
      throw Refused(403,
                    "this name does not belong to the server; use the address that it printed");
    if (!is_own_origin(req.get_header_value("Origin"), host))
      throw Refused(403, "requests from pages of other servers are refused");
    const bool open =
        !req.path.starts_with("/v1/") || req.path == "/v1/health" || req.path == "/v1/login";
    if (!open && !is_authorized(req))
      throw Refused(401, "a token is needed: send the header Authorization: Bearer TOKEN");
  }

  std::shared_ptr<Job> job_of(const Request& req) const {
    auto job = own.queue_.find(req.matches[1]);
    if (!job) throw Refused(404, "there is no such job, or it was dropped to make room");
    return job;
  }

  RunWatch& watch() const {
    if (own.watch_ == nullptr) throw Refused(404, "this server shows no run");
    return *own.watch_;
  }

  void login(const std::string& body, Response& res) const {
    const auto json = io::json_or_discarded(body);
    const bool given = json.is_object() && json.contains("token") && json["token"].is_string();
    if (!given) throw Refused(400, "token: missing; send {\"token\": \"...\"}");
    if (own.options_.token.empty() ||
        !equal_secrets(json["token"].get<std::string>(), own.options_.token))
      throw Refused(401, "this is not the token");
    res.set_header("Set-Cookie", fmt::format("{}={}; HttpOnly; SameSite=Strict; Path=/",
                                             cookie_name, own.options_.token));
    answer(res, 200, {{"ok", true}});
  }

  void model(Response& res) const {
    Json json{{"program", std::string("ddpm ") + DDPM_VERSION},
              {"limits", {{"num", own.options_.max_images}, {"queue", own.options_.queue}}},
              {"run", own.watch_ != nullptr},
              {"network", own.painter_->model()}};
    answer(res, 200, json);
  }

  std::unique_ptr<Task> planned(const SampleRequest& request) const {
    try {
      return own.painter_->plan(request);
    } catch (const UsageError& error) {
      throw Refused(400, error.what());
    } catch (const NoNetwork& error) {
      throw Refused(409, error.what());
    }
  }

  void add_job(const std::string& body, Response& res, Wish wish) const {
    const SampleRequest request = parse_request(body, wish, own.options_.max_images);
    std::unique_ptr<Task> task = planned(request);
    const auto job = own.queue_.add(request.num, std::move(task));
    if (!job) {
      res.set_header("Retry-After", "5");
      throw Refused(429, fmt::format("{} jobs wait already; try again later", own.options_.queue));
    }
    res.set_header("Location", "/v1/jobs/" + job->id());
    answer(res, 202, job->to_json());
  }

  void stream_job(const Request& req, Response& res) {
    const auto job = job_of(req);
    auto seen = std::make_shared<uint64_t>(0);
    stream(res, [job, seen](bool& last) -> std::string {
      const uint64_t version = job->wait_for_change(*seen, kLook);
      if (version == *seen) return "";
      *seen = version;
      const Json json = job->to_json();
      last = job->is_final() && job->version() == version;
      return event_text("job", io::json_text(json));
    });
  }

  void stream_run(Response& res) {
    RunWatch* run = &watch();
    auto seen = std::make_shared<uint64_t>(0);
    stream(res, [run, seen](bool&) -> std::string {
      if (*seen != 0) std::this_thread::sleep_for(kLook);
      const auto now = run->now();
      if (now->version == *seen) return "";
      *seen = now->version;
      return event_text(
          "run", io::json_text(
                     Json{{"version", now->version}, {"state", now->state}, {"step", now->step}}));
    });
  }

  void send_grid(const Request& req, Response& res) const {
    const auto file = watch().grid(req.matches[1]);
    if (file.empty()) throw Refused(404, "the run has no such grid");
    answer_png(res, std::make_shared<const Png>(io::read_file(file)), true);
  }

  void list_jobs(Response& res) const {
    Json jobs = Json::array();
    for (const auto& job : own.queue_.all()) jobs.push_back(job->to_json());
    answer(res, 200, {{"jobs", jobs}});
  }

  using Handle = std::function<void(const Request&, Response&)>;

  // The handler with its refusals answered.
  static httplib::Server::Handler guarded(Handle handle) {
    return [handle = std::move(handle)](const Request& req, Response& res) {
      try {
        handle(req, res);
      } catch (const Refused& refused) {
        refuse(res, refused.status(), refused.what());
      } catch (const std::exception& error) {
        spdlog::error("{} {}: {}", req.method, req.path, first_line(error));
        refuse(res, 500, first_line(error));
      }
    };
  }

  using Take = std::function<void(const std::string& body, Response&)>;

  // A route that takes JSON of at most so many bytes. Who may not ask is refused before anything is
  // kept of the body.
  void post(const char* path, size_t most, Take take) {
    http().Post(path, [=, this, take = std::move(take)](const Request& request, Response& response,
                                                        const httplib::ContentReader& reader) {
      guarded([&](const Request& req, Response& res) {
        try {
          check_access(req);
          expect_json(req);
        } catch (const Refused&) {
          skip_body(req, reader);
          throw;
        }
        take(body_of(res, reader, most), res);
      })(request, response);
    });
  }

  void add_page() {
    constexpr const char* kCss = "text/css; charset=utf-8";
    constexpr const char* kJavaScript = "text/javascript; charset=utf-8";
    const auto add = [&](const char* path, std::string_view text, const char* type) {
      http().Get(path,
                 [text, type](const Request&, Response& res) { answer_text(res, text, type); });
    };
    add("/", assets::kPage, "text/html; charset=utf-8");
    add("/base\\.css", report::assets::kStyle, kCss);
    add("/page\\.css", assets::kStyle, kCss);
    add("/chart\\.js", report::assets::kChart, kJavaScript);
    add("/charts\\.js", report::assets::kCharts, kJavaScript);
    add("/common\\.js", assets::kCommon, kJavaScript);
    add("/region\\.js", assets::kRegion, kJavaScript);
    add("/picture\\.js", assets::kPicture, kJavaScript);
    add("/form\\.js", assets::kForm, kJavaScript);
    add("/jobs\\.js", assets::kJobs, kJavaScript);
    add("/watch\\.js", assets::kWatch, kJavaScript);
    add("/page\\.js", assets::kScript, kJavaScript);
  }

  void add_jobs() {
    const std::string job = "/v1/jobs/([0-9a-f]{16})";
    const auto add = [&](const char* path, Wish wish) {
      post(path, kMaxPictures,
           [=, this](const std::string& body, Response& res) { add_job(body, res, wish); });
    };
    add("/v1/samples", Wish::kSamples);
    add("/v1/interpolations", Wish::kInterpolation);
    add("/v1/inpaintings", Wish::kInpainting);
    http().Get("/v1/jobs", guarded([this](const Request&, Response& res) { list_jobs(res); }));
    http().Get(job, guarded([this](const Request& req, Response& res) {
                 answer(res, 200, job_of(req)->to_json());
               }));
    http().Delete(job, guarded([this](const Request& req, Response& res) {
                    const auto found = job_of(req);
                    found->cancel();
                    answer(res, 200, found->to_json());
                  }));
    http().Get(job + "/events",
               guarded([this](const Request& req, Response& res) { stream_job(req, res); }));
    http().Get(job + "/preview\\.png", guarded([this](const Request& req, Response& res) {
                 answer_png(res, job_of(req)->preview(), false);
               }));
    http().Get(job + "/images/([0-9]{1,9})\\.png",
               guarded([this](const Request& req, Response& res) {
                 answer_png(res, job_of(req)->image(std::stoll(req.matches[2])), true);
               }));
    http().Get(job + "/inputs/([a-z0-9.-]{1,100})",
               guarded([this](const Request& req, Response& res) {
                 answer_png(res, job_of(req)->input(req.matches[2]), true);
               }));
  }

  void add_rest() {
    http().Get("/v1/health", guarded([](const Request&, Response& res) {
                 answer(res, 200, {{"ok", true}});
               }));
    post("/v1/login", kMaxBody,
         [this](const std::string& body, Response& res) { login(body, res); });
    post(".*", kMaxBody,
         [](const std::string&, Response&) { throw Refused(404, text_of_status(404)); });
    http().Get("/v1/model", guarded([this](const Request&, Response& res) { model(res); }));
    http().Get("/v1/run", guarded([this](const Request&, Response& res) {
                 res.set_content(watch().now()->json + "\n", "application/json");
               }));
    http().Get("/v1/run/events",
               guarded([this](const Request&, Response& res) { stream_run(res); }));
    http().Get("/v1/run/grids/([A-Za-z0-9._-]{1,100})",
               guarded([this](const Request& req, Response& res) { send_grid(req, res); }));
  }

  void add_rules() {
    http().set_pre_routing_handler([this](const Request& req, Response& res) {
      if (req.method == "POST") return httplib::Server::HandlerResponse::Unhandled;  // see post()
      guarded([this](const Request& r, Response&) { check_access(r); })(req, res);
      return res.status >= 400 ? httplib::Server::HandlerResponse::Handled
                               : httplib::Server::HandlerResponse::Unhandled;
    });
    http().set_error_handler([](const Request&, Response& res) {
      if (res.body.empty()) refuse(res, res.status, text_of_status(res.status));
    });
    http().set_exception_handler([](const Request&, Response& res, std::exception_ptr) {
      refuse(res, 500, "the request failed");
    });
    http().set_default_headers({{"Content-Security-Policy", kPageMust},
                                {"X-Content-Type-Options", "nosniff"},
                                {"Referrer-Policy", "no-referrer"},
                                {"Cross-Origin-Opener-Policy", "same-origin"},
                                {"Cross-Origin-Resource-Policy", "same-origin"},
                                {"Cache-Control", "no-store"}});
  }
};

HttpServer::HttpServer(const ServerOptions& options, Painter* painter, JobQueue& queue,
                       RunWatch* watch)
    : options_(options),
      painter_(painter),
      queue_(queue),
      watch_(watch),
      server_(std::make_unique<httplib::Server>()) {
  server_->new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server_->set_socket_options([this](socket_t socket) {
    set_options_of(socket);
    socket_ = socket;
  });
  server_->set_payload_max_length(kMaxPictures);
  // One request per connection: the library would take the unread body of a refused one for the next
  // request, which a page of another origin could have written.
  server_->set_keep_alive_max_count(1);
  server_->set_read_timeout(5);
  server_->set_write_timeout(5);
  server_->set_tcp_nodelay(true);
}

HttpServer::~HttpServer() { stop(); }

void HttpServer::start() {
  port_ = options_.port == 0 ? server_->bind_to_any_port(options_.host)
          : server_->bind_to_port(options_.host, options_.port) ? options_.port
                                                                : -1;
  if (port_ <= 0)
    throw Error(
        fmt::format("{}:{} cannot be used: another program listens there, or it is no address "
                    "of this machine; choose another --port (0: any free one) or --host",
                    options_.host, options_.port));
  ::listen(socket_, kBacklog);  // the library's own is 5: a burst of clients would be turned away
  routes_ = std::make_unique<Routes>(Routes{*this, fmt::format("ddpm_token_{}", port_)});
  routes_->add_page();
  routes_->add_jobs();
  routes_->add_rest();
  routes_->add_rules();
  thread_ = std::thread([this] { server_->listen_after_bind(); });
  while (!server_->is_running()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void HttpServer::stop() {
  stopping_ = true;
  server_->stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace ddpm::serve
