// A NIfTI file as the server writes it: little-endian, 352 bytes of header, x fastest.

const TYPES = { 2: Uint8Array, 4: Int16Array, 512: Uint16Array, 128: Uint8Array };
const HEADER = 352;

export class Volume {
  constructor(buffer) {
    const view = new DataView(buffer);
    const code = view.getInt16(70, true);
    this.buffer = buffer;
    this.shape = [42, 44, 46].map((at) => view.getInt16(at, true));
    this.slope = view.getFloat32(112, true);
    this.intercept = view.getFloat32(116, true);
    this.coloured = code === 128;
    this.values = new TYPES[code](buffer, HEADER);
  }

  // The value of a voxel in the image's own unit; of a picture in colours all three.
  at(index) {
    if (this.coloured) return Array.from(this.values.subarray(3 * index, 3 * index + 3)).join(", ");
    return this.values[index] * this.slope + this.intercept;
  }
}
