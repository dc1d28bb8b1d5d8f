import ai.djl.engine.Engine;
import ai.djl.inference.Predictor;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import ai.djl.repository.zoo.Criteria;
import ai.djl.repository.zoo.ZooModel;
import ai.djl.translate.NoopTranslator;
import ai.djl.translate.TranslateException;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Runs a TorchScript archive in the engine of Fiji or QuPath, with the tiles and the padding of
 * that program.
 *
 * <p>The only argument is a JSON file with {@code model}, {@code report} and {@code runs}; every run
 * has {@code input} and {@code output} (files of little-endian float32, the output channels first),
 * {@code height}, {@code width}, {@code tiles} (whole, fiji or qupath), {@code side} and {@code halo}. The
 * report names the engine's version, and of each run its tiles and channels, its seconds and the most
 * memory that this process has held by its end.
 */
public final class Runner {
  private final Predictor<NDList, NDList> predictor;
  private final NDManager manager;

  private Runner(ZooModel<NDList, NDList> model) {
    predictor = model.newPredictor();
    manager = model.getNDManager();
  }

  public static void main(String[] arguments) throws Exception {
    JsonObject job = JsonParser.parseString(Files.readString(Path.of(arguments[0]))).getAsJsonObject();
    JsonObject versions = new JsonObject();
    versions.addProperty("libtorch", Engine.getEngine("PyTorch").getVersion());
    versions.addProperty("djl", Engine.getDjlVersion());
    versions.addProperty("java", System.getProperty("java.version"));
    JsonArray finished = new JsonArray();
    JsonArray runs = job.getAsJsonArray("runs");
    if (runs.size() > 0) {
      Criteria<NDList, NDList> criteria =
          Criteria.builder()
              .setTypes(NDList.class, NDList.class)
              .optModelPath(Path.of(job.get("model").getAsString()))
              .optEngine("PyTorch")
              .optTranslator(new NoopTranslator(null))
              .build();
      try (ZooModel<NDList, NDList> model = criteria.loadModel()) {
        Runner runner = new Runner(model);
        for (JsonElement run : runs) {
          finished.add(runner.run(run.getAsJsonObject()));
        }
      }
    }
    JsonObject report = new JsonObject();
    report.add("versions", versions);
    report.add("runs", finished);
    Files.writeString(Path.of(job.get("report").getAsString()), report.toString());
  }

  private JsonObject run(JsonObject job) throws IOException, TranslateException {
    long begin = System.nanoTime();
    Image image = new Image(1, job.get("height").getAsInt(), job.get("width").getAsInt());
    image.read(Path.of(job.get("input").getAsString()));
    int side = job.get("side").getAsInt();
    int halo = job.get("halo").getAsInt();
    String tiles = job.get("tiles").getAsString();
    Span[] rows = spans(tiles, image.height, side, halo);
    Span[] columns = spans(tiles, image.width, side, halo);
    Image result = null;
    for (Span row : rows) {
      for (Span column : columns) {
        Image tile = new Image(1, row.side, column.side);
        for (int y = 0; y < tile.height; y++) {
          for (int x = 0; x < tile.width; x++) {
            tile.set(0, y, x, image.get(0, row.pixel(y), column.pixel(x)));
          }
        }
        Image predicted = predict(tile);
        if (result == null) {
          result = new Image(predicted.channels, image.height, image.width);
        }
        for (int c = 0; c < result.channels; c++) {
          for (int y = 0; y < row.count; y++) {
            for (int x = 0; x < column.count; x++) {
              float value = predicted.get(c, row.kept + y, column.kept + x);
              result.set(c, row.target + y, column.target + x, value);
            }
          }
        }
      }
    }
    result.write(Path.of(job.get("output").getAsString()));
    JsonObject finished = new JsonObject();
    finished.addProperty("tiles", rows.length * columns.length);
    finished.addProperty("channels", result.channels);
    finished.addProperty("seconds", (System.nanoTime() - begin) / 1e9);
    long peak = peakBytes();
    if (peak > 0) {
      finished.addProperty("peak_bytes", peak);
    }
    return finished;
  }

  /** Most bytes of memory that this process has held so far; 0 where the system does not tell. */
  private static long peakBytes() throws IOException {
    Path status = Path.of("/proc/self/status");
    if (!Files.isReadable(status)) {
      return 0;
    }
    for (String line : Files.readAllLines(status)) {
      if (line.startsWith("VmHWM:")) {
        return 1024 * Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    return 0;
  }

  private Image predict(Image tile) throws TranslateException {
    try (NDManager scope = manager.newSubManager()) {
      NDArray input = scope.create(tile.values, new Shape(1, 1, tile.height, tile.width));
      try (NDList output = predictor.predict(new NDList(input))) {
        if (output.size() != 1) {
          throw new IllegalStateException("The network returned " + output.size() + " tensors.");
        }
        NDArray array = output.singletonOrThrow();
        Shape shape = array.getShape();
        Image image = new Image((int) shape.get(1), (int) shape.get(2), (int) shape.get(3));
        image.values = array.toFloatArray();
        return image;
      }
    }
  }

  private static Span[] spans(String tiles, int length, int side, int halo) {
    switch (tiles) {
      case "whole":
        return new Span[] {new Span(length, 0, 0, length, p -> p)};
      case "fiji":
        return fijiSpans(length, side, halo);
      case "qupath":
        return qupathSpans(length, side, halo);
      default:
        throw new IllegalArgumentException("There are no tiles called " + tiles + ".");
    }
  }

  /** Tiles of JDLL: equal inner parts, the last one moved back, the image mirrored beyond its edge. */
  private static Span[] fijiSpans(int length, int side, int halo) {
    int before = Math.max(halo, (int) Math.ceil((side - length) / 2.0));
    int after = Math.max(halo, side - length - before);
    int inner = side - before - after;
    Span[] spans = new Span[(int) Math.ceil((double) length / (side - 2 * halo))];
    for (int i = 0; i < spans.length; i++) {
      int start = Math.min(inner * i, length - inner);
      int first = start - before;
      spans[i] = new Span(side, before, start, inner, p -> mirrored(first + p, length));
    }
    return spans;
  }

  /** Regions of QuPath: the last pixel repeated beyond the image, then a small tile mirrored. */
  private static Span[] qupathSpans(int length, int side, int halo) {
    int inner = side - 2 * halo;
    Span[] spans = new Span[(length + inner - 1) / inner];
    for (int i = 0; i < spans.length; i++) {
      int start = inner * i;
      int count = Math.min(inner, length - start);
      int size = count + 2 * halo;
      int border = (side - size) / 2;
      int first = start - halo;
      spans[i] =
          new Span(
              side,
              border + halo,
              start,
              count,
              p -> Math.min(Math.max(first + mirrored(p - border, size), 0), length - 1));
    }
    return spans;
  }

  /** Continues an axis by reflection that repeats the edge pixel. */
  private static int mirrored(int position, int length) {
    int inside = Math.floorMod(position, 2 * length);
    return inside < length ? inside : 2 * length - 1 - inside;
  }

  /** Which pixel of the image a pixel of a tile shows, along one axis. */
  private interface Source {
    int of(int position);
  }

  /** A tile along one axis. */
  private static final class Span {
    final int side;
    final int kept;
    final int target;
    final int count;
    private final Source source;

    Span(int side, int kept, int target, int count, Source source) {
      this.side = side;
      this.kept = kept;
      this.target = target;
      this.count = count;
      this.source = source;
    }

    int pixel(int position) {
      return source.of(position);
    }
  }

  /** Float values of an image, channels first. */
  private static final class Image {
    final int channels;
    final int height;
    final int width;
    float[] values;

    Image(int channels, int height, int width) {
      this.channels = channels;
      this.height = height;
      this.width = width;
      values = new float[Math.multiplyExact(channels, Math.multiplyExact(height, width))];
    }

    float get(int channel, int y, int x) {
      return values[(channel * height + y) * width + x];
    }

    void set(int channel, int y, int x, float value) {
      values[(channel * height + y) * width + x] = value;
    }

    void read(Path path) throws IOException {
      ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
      FloatBuffer floats = bytes.asFloatBuffer();
      if (floats.remaining() != values.length) {
        throw new IOException(path + " holds " + floats.remaining() + " values, not " + values.length);
      }
      floats.get(values);
    }

    void write(Path path) throws IOException {
      ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
      bytes.asFloatBuffer().put(values);
      try (FileChannel channel =
          FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
        while (bytes.hasRemaining()) {
          channel.write(bytes);
        }
      }
    }
  }
}
