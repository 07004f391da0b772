#include "ddpm/io/lmdb.h"

#include "ddpm/base/error.h"
#include "ddpm/io/foreign_text.h"
#include "image_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>
#include <lmdb.h>

namespace ddpm::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDataFile = "data.mdb";

void expect_success(int code, const fs::path& folder) {
  if (code == MDB_SUCCESS) return;
  const bool foreign = code == MDB_INVALID || code == MDB_VERSION_MISMATCH;
  throw IoError(folder / kDataFile, foreign
                                        ? "is no LMDB database that can be read; fetch it again"
                                        : fmt::format("cannot be read: {}", mdb_strerror(code)));
}

std::span<const uint8_t> value_bytes(const MDB_val& value) {
  return {static_cast<const uint8_t*>(value.mv_data), value.mv_size};
}

std::string escaped(std::span<const uint8_t> key) {
  std::string text;
  for (const uint8_t c : key) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_';
    text += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return text;
}

// "" if the value is no image.
std::string ending_of_value(std::span<const uint8_t> value) {
  switch (image_format(value.first(std::min<size_t>(value.size(), 300)), "")) {
    case ImageFormat::kPng:
      return ".png";
    case ImageFormat::kJpeg:
      return ".jpg";
    case ImageFormat::kWebp:
      return ".webp";
    case ImageFormat::kBmp:
      return ".bmp";
    case ImageFormat::kPnm:
      return ".ppm";
    default:
      return "";
  }
}

// A file that is shorter than its pages would end the process when it is read.
void expect_whole(MDB_env* env, const fs::path& folder) {
  MDB_envinfo info{};
  MDB_stat stat{};
  expect_success(mdb_env_info(env, &info), folder);
  expect_success(mdb_env_stat(env, &stat), folder);
  const uint64_t wanted = (uint64_t{info.me_last_pgno} + 1) * stat.ms_psize;
  const uint64_t size = fs::file_size(folder / kDataFile);
  if (size < wanted)
    throw IoError(folder / kDataFile,
                  fmt::format("is cut short: {} of {} bytes; fetch it again", size, wanted));
}

}  // namespace

bool LmdbReader::is_database(const fs::path& folder) { return fs::exists(folder / kDataFile); }

fs::path LmdbReader::file() const { return path_ / kDataFile; }

LmdbReader::LmdbReader(const fs::path& folder) : path_(folder) {
  refuse_foreign_text(folder / kDataFile);
  expect_success(mdb_env_create(&env_), folder);
  try {
    expect_success(
        mdb_env_open(env_, folder.c_str(), MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS | MDB_NORDAHEAD, 0),
        folder);
    expect_whole(env_, folder);
    expect_success(mdb_txn_begin(env_, nullptr, MDB_RDONLY, &transaction_), folder);
    expect_success(mdb_dbi_open(transaction_, nullptr, 0, &database_), folder);
    list();
  } catch (...) {
    mdb_txn_abort(transaction_);
    mdb_env_close(env_);
    throw;
  }
}

LmdbReader::LmdbReader(LmdbReader&& other) noexcept
    : path_(std::move(other.path_)),
      env_(std::exchange(other.env_, nullptr)),
      transaction_(std::exchange(other.transaction_, nullptr)),
      database_(other.database_),
      mutex_(std::move(other.mutex_)),
      names_(std::move(other.names_)),
      keys_(std::move(other.keys_)) {}

LmdbReader::~LmdbReader() {
  mdb_txn_abort(transaction_);
  if (env_) mdb_env_close(env_);
}

void LmdbReader::list() {
  MDB_cursor* cursor = nullptr;
  expect_success(mdb_cursor_open(transaction_, database_, &cursor), path_);
  const std::unique_ptr<MDB_cursor, void (*)(MDB_cursor*)> closed(cursor, mdb_cursor_close);
  MDB_val key{}, value{};
  int code = MDB_SUCCESS;
  while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == MDB_SUCCESS) {
    const auto bytes = value_bytes(key);
    names_.push_back(escaped(bytes) + ending_of_value(value_bytes(value)));
    keys_.emplace(names_.back(), std::string(bytes.begin(), bytes.end()));
  }
  if (code != MDB_NOTFOUND) expect_success(code, path_);
}

LmdbReader::Value LmdbReader::value_of(const std::string& name) const {
  const auto found = keys_.find(name);
  if (found == keys_.end()) throw IoError(path_ / name, "is not in the database");
  std::string key_bytes = found->second;
  MDB_val key{key_bytes.size(), key_bytes.data()}, value{};
  const std::lock_guard lock(*mutex_);
  expect_success(mdb_get(transaction_, database_, &key, &value), path_);
  return {static_cast<const uint8_t*>(value.mv_data), value.mv_size};
}

uint64_t LmdbReader::size_of(const std::string& name) const { return value_of(name).size; }

std::vector<uint8_t> LmdbReader::read_beginning(const std::string& name, uint64_t count) const {
  const Value value = value_of(name);  // valid until the transaction ends
  return {value.data, value.data + std::min(count, value.size)};
}

}  // namespace ddpm::io
